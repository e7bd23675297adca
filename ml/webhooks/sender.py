"""Sends what is due: makes deliveries of the notes of jobs, claims them, and posts several at the same time."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import Document
from ml.metrics import deliveries as counted
from ml.webhooks import deliveries, outbox
from ml.webhooks.post import Outcome, Poster
from ml.webhooks.secrets import Secrets
from ml.webhooks.signing import headers

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
#: Attempts at the same time, those of them that are to one host, and those for one owner.
MOST = 8
MOST_TO_HOST = 2
MOST_FOR_OWNER = 4
#: How long the attempts that are under way may go on when the worker stops. The others are made again elsewhere.
STOP_SECONDS = 5.0
#: Whose secret signs what belongs to nobody: that is the administrator's to see.
NOBODYS = "admin"


class Sender:
    """Sends deliveries in threads of its own, from `start` to `close`. Several, in any processes, share them."""

    def __init__(
        self,
        db: Database[Document],
        poster: Poster,
        pauses: Sequence[float] = deliveries.PAUSES,
        most: int = MOST,
        poll: float = POLL_SECONDS,
    ) -> None:
        self._db = db
        self._deliveries = db["deliveries"]
        self._poster = poster
        self._secrets = Secrets(db)
        self._pauses = pauses
        self._most = most
        self._poll = poll
        self._under_way: dict[Any, Document] = {}
        #: Guards `_under_way`, and tells of each that ends.
        self._ended = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Look for work in a thread until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Take on nothing more, and give the attempts that are under way a moment to end."""
        self._stop.set()
        with self._ended:
            self._ended.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        with self._ended:
            self._ended.wait_for(lambda: not self._under_way, STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self.step()
            except PyMongoError as error:
                log.warning("no webhook can be sent: %s", error)
                busy = False
            except Exception:
                log.exception("no webhook can be sent")
                busy = False
            if not busy:
                with self._ended:  # a place that is free again is looked at at once
                    self._ended.wait(self._poll)

    def step(self) -> bool:
        """Move notes and begin an attempt where one is due and may be made; whether there may be more to do at once."""
        moved = outbox.move_all(self._db)
        delivery = self._claim()
        if delivery is not None:
            with self._ended:
                self._under_way[delivery["_id"]] = delivery
            threading.Thread(target=self._attempt, args=(delivery,), name="webhook", daemon=True).start()
        return delivery is not None or moved >= outbox.AT_ONCE

    def _claim(self) -> Document | None:
        """The next delivery that a place is free for.

        Owners of whom nothing is under way go first, so that whoever has many slow receivers waits for himself. Those
        of one job are sent one after the other.
        """
        with self._ended:
            under_way = list(self._under_way.values())
        if len(under_way) >= self._most:
            return None
        owners, hosts = _counted(under_way, "owner"), _counted(under_way, "host")
        without = {
            "job": [delivery.get("job") for delivery in under_way],
            "host": [host for host, count in hosts.items() if count >= MOST_TO_HOST],
        }
        found = deliveries.claim(self._deliveries, {**without, "owner": list(owners)})
        if found is None and owners:
            full = [owner for owner, count in owners.items() if count >= MOST_FOR_OWNER]
            found = deliveries.claim(self._deliveries, {**without, "owner": full})
        return found

    def _attempt(self, delivery: Document) -> None:
        try:
            self._settle(delivery, self._send(delivery))
        except PyMongoError as error:
            # Its lease runs out, and it is sent again: it may arrive twice.
            log.warning("delivery %s: what came of it could not be written: %s", delivery["_id"], error)
        except Exception:
            log.exception("delivery %s: its attempt ended oddly", delivery["_id"])
        finally:
            with self._ended:
                del self._under_way[delivery["_id"]]
                self._ended.notify_all()

    def _send(self, delivery: Mapping[str, Any]) -> Outcome:
        if delivery["attempt"] > len(self._pauses) + 1:
            return Outcome(error="no worker lived to the end of an attempt")
        owner = delivery.get("owner")
        body = delivery["payload"].encode()
        secrets = self._secrets.signing(owner if isinstance(owner, str) else NOBODYS)
        signed = headers(str(delivery["_id"]), int(time.time()), body, secrets)
        return self._poster.post(delivery["url"], signed, body)

    def _settle(self, delivery: Mapping[str, Any], outcome: Outcome) -> None:
        if outcome.error is None:
            if deliveries.deliver(self._deliveries, delivery, outcome.code):
                counted.labels("delivered").inc()
            return
        again = deliveries.fail(
            self._deliveries, delivery, outcome.code, outcome.error, self._pauses, outcome.retry_after
        )
        if again is not None:
            counted.labels("retried" if again else "failed").inc()
            what = "tried again" if again else "given up"
            log.info("delivery %s: %s; attempt %d, %s", delivery["_id"], outcome.error, delivery["attempt"], what)


def _counted(under_way: Sequence[Mapping[str, Any]], field: str) -> Counter[str | None]:
    """How often each value is there; what is neither text nor missing is another program's, and is let pass."""
    values = (delivery.get(field) for delivery in under_way)
    return Counter(value for value in values if value is None or isinstance(value, str))
