"""Workers as processes send webhooks; what one had under way when it was killed is sent by another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.database.client import database_of
from tests.conftest import ADMIN_KEY
from tests.end_to_end.almanac import ROOT
from tests.integration.webhooks.deliveries import a_delivery, ended
from tests.receivers import mute, receiving
from tests.waiting import until


@contextmanager
def worker(mongod: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`run.py worker` that may reach this machine."""
    environment = {
        **os.environ,
        "ALMANAC_MONGO_URI": mongod,
        "ALMANAC_ADMIN_KEY": ADMIN_KEY,
        "ALMANAC_DATA_DIR": str(directory),
        "ALMANAC_WEBHOOK_PRIVATE_TARGETS": "true",
    }
    process = subprocess.Popen([sys.executable, str(ROOT / "run.py"), "worker"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def test_what_a_killed_worker_was_sending_is_sent_by_another(client: Any, mongod: str, tmp_path: Path) -> None:
    deliveries = database_of(client)["deliveries"]
    with mute() as url, receiving() as receiver:
        good, stuck = a_delivery(client["almanac"], receiver.url), a_delivery(client["almanac"], url)
        with worker(mongod, tmp_path) as first:
            assert ended(database_of(client), good)["status"] == "delivered"
            held = until(lambda: deliveries.find_one({"_id": stuck["_id"], "claim": {"$exists": True}}))
            first.kill()
            first.wait(20)
        assert held["lease"] > held["_updated"]
        # As if its lease had run out, and the receiver were well again.
        change = {"url": receiver.url, "lease": held["_created"]}
        deliveries.update_one({"_id": stuck["_id"]}, {"$set": change})
        with worker(mongod, tmp_path) as second:
            after = ended(database_of(client), stuck)
            assert (after["status"], after["attempt"]) == ("delivered", 2)
            second.send_signal(signal.SIGTERM)
            assert second.wait(20) == 0
        assert [message.headers["webhook-id"] for message in receiver.messages] == [str(good["_id"]), str(stuck["_id"])]
