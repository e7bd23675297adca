"""The jobs of a server under measurement, by its REST API."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from benchmarks.servers import JSON, Server

ENDED = ("succeeded", "failed", "canceled")
LOOK_SECONDS = 0.02
#: Where only the end is waited for, whose time the job itself tells: a look costs the server a few milliseconds.
END_SECONDS = 0.25
MOST_SECONDS = 600.0


class Rest:
    """Submits jobs and watches them."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def submit(self, **job: Any) -> str:
        """The id of a new job."""
        id_: str = self._send("POST", "jobs", job)["_id"]
        return id_

    def job(self, id_: str) -> dict[str, Any]:
        return self._send("GET", f"jobs/{id_}")

    def change(self, id_: str, status: str) -> None:
        self._send("PATCH", f"jobs/{id_}", {"status": status})

    def until(self, id_: str, reached: Callable[[dict[str, Any]], bool], pause: float = LOOK_SECONDS) -> dict[str, Any]:
        """The job when it is as wanted. Raises RuntimeError where it fails, or takes too long."""
        end = time.monotonic() + MOST_SECONDS
        while not reached(found := self.job(id_)):
            if found["status"] == "failed" or time.monotonic() > end:
                raise RuntimeError(f"the job is {found}")
            time.sleep(pause)
        return found

    def wait(self, id_: str) -> dict[str, Any]:
        """The job when it has ended well."""
        return self.until(id_, lambda found: found["status"] == "succeeded", END_SECONDS)

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        headers = {**JSON, **self.server.headers, "If-Match": "*"}
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.server.port}/api/v1/{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found
