"""A client that goes on storing inputs and looking at a job over HTTP, whatever happens to the server."""

from __future__ import annotations

import threading
from collections import Counter

import requests
from bson import ObjectId

from tests.faults.cluster import Cluster


class Visitor:
    """One thread. `codes` counts the answers (0: the connection failed), `told` are the inputs that were accepted,
    `done` is how many rows the job had, each time that it was looked at.
    """

    def __init__(self, cluster: Cluster, job: ObjectId) -> None:
        self._cluster = cluster
        self._job = job
        self._headers = cluster.almanac.headers
        self._url = f"{cluster.almanac.url}/api/v1"
        self._stop = threading.Event()
        self.codes: Counter[int] = Counter()
        self.told: list[ObjectId] = []
        self.done: list[int] = []
        self.wrong: list[str] = []
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _go_on(self) -> None:
        while not self._stop.wait(0.01):
            stored = self._ask("POST", "inputs", {"data": [1, 2, 3], "tags": ["visitor"]})
            if stored is not None and stored.status_code == 201:
                self.told.append(ObjectId(stored.json()["_id"]))
            seen = self._ask("GET", f"jobs/{self._job}")
            if seen is not None and seen.status_code == 200:
                self.done.append(seen.json()["progress"]["done"])

    def _ask(self, method: str, path: str, body: object = None) -> requests.Response | None:
        try:
            answer = requests.request(method, f"{self._url}/{path}", headers=self._headers, json=body, timeout=60)
        except requests.RequestException:
            self.codes[0] += 1
            return None
        self.codes[answer.status_code] += 1
        if answer.status_code == 503:
            if "Retry-After" not in answer.headers:
                self.wrong.append(answer.text)
        elif answer.status_code not in (200, 201):
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer
