"""A real server under load, whose alias is moved back and forth: no request fails, none is answered by two versions."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import add_stub
from tests.end_to_end.almanac import Almanac, free_port
from tests.waiting import until

CLIENTS = 32
MOVES = 8
ROWS = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 0, 0]]
PATH = "models/sums/aliases/stable/predict"


def expected(version: int) -> list[list[float]]:
    """What a version makes of the rows: it adds a hundred times its number."""
    return [[100.0 * version + sum(row), 100.0 * version + sum(row) + 1] for row in ROWS]


class Clients:
    """Threads that send one request after the other, each over a connection of its own, until told to stop."""

    def __init__(self, almanac: Almanac) -> None:
        self._url = f"{almanac.url}/api/v1/{PATH}"
        self._headers = almanac.headers
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.versions: Counter[int] = Counter()
        self.wrong: list[Any] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            while not self._stop.is_set():
                try:
                    answer = session.post(self._url, json={"instances": ROWS}, timeout=60)
                    body = answer.json()
                    whole = answer.status_code == 200 and [
                        prediction["output"] for prediction in body["predictions"]
                    ] == expected(body["version"])
                except requests.RequestException as error:
                    body, whole = error, False
                with self._lock:
                    if not whole:
                        self.wrong.append(body)
                        return
                    self.versions[body["version"]] += 1

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Almanac, dict[int, Any]]]:
    """With two versions that can be told apart, and their documents' ids; `stable` is the first."""
    almanac = Almanac(tmp_path / "data", free_port(), "--no-jobs", ALMANAC_LOG_LEVEL="warning")
    almanac.wait_for("^Almanac serves at", 60)
    with almanac.database() as client:
        ids = {
            version: add_stub(client, tmp_path, version=version, add=100.0 * version, aliases={"stable": 1})["_id"]
            for version in (1, 2)
        }
    until(lambda: almanac.post(PATH, json={"instances": ROWS}).status_code == 200, 20, "the model answers")
    yield almanac, ids
    almanac.stop()


def test_an_alias_is_moved_under_load_and_nobody_notices(server: tuple[Almanac, dict[int, Any]]) -> None:
    almanac, ids = server
    with Clients(almanac) as clients:
        until(lambda: clients.versions[1] > 100 or clients.wrong, 30, "the load is on")
        for number in range(MOVES):
            version = 2 - number % 2
            moved = requests.patch(
                f"{almanac.url}/api/v1/models/{ids[version]}",
                json={"aliases": ["stable"]},
                headers={**almanac.headers, "If-Match": "*"},
                timeout=30,
            )
            assert moved.status_code == 200, moved.text
            # Whoever moved it is answered by the new one at once.
            assert almanac.post(PATH, json={"instances": ROWS}).json()["version"] == version
            count = clients.versions[version]
            until(lambda v=version, c=count: clients.versions[v] > c + 200 or clients.wrong, 30, "the others are, too")
    assert clients.wrong == []
    assert clients.versions.keys() == {1, 2}
    # What is stored is of the version that it says, too.
    with almanac.database() as client:
        results = client.get_default_database()["results"]
        for version in (1, 2):
            mine = {output[0] for output in expected(version)}
            assert results.count_documents({"version": version, "output.y.0": {"$nin": list(mine)}}) == 0
            assert results.count_documents({"version": version}) >= len(ROWS) * clients.versions[version]
