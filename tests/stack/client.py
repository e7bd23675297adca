"""A client of the stack's REST interface, over all of its replicas."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import requests

from tests.waiting import until

RESOURCES = ("models", "inputs", "results", "jobs")


class Client:
    """Asks one replica after the other; a replica that is gone is passed over."""

    def __init__(self, urls: list[str], key: str) -> None:
        self.urls = urls
        self._turn = itertools.count()
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", 60)
        refused: requests.ConnectionError | None = None
        for _ in self.urls:
            url = self.urls[next(self._turn) % len(self.urls)]
            try:
                return self._session.request(method, f"{url}/api/v1/{path}", **kwargs)
            except requests.ConnectionError as error:
                refused = error
        assert refused is not None
        raise refused

    def get(self, path: str, **params: Any) -> Any:
        answer = self.request("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **kwargs: Any) -> Any:
        answer = self.request("POST", path, **kwargs)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def register(self, file: Path, name: str) -> dict[str, Any]:
        """Register a model and wait until it is available."""
        with file.open("rb") as stream:
            made = self.post("models", data={"name": name, "aliases": "stable"}, files={"file": stream})
        path = f"models/{made['_id']}"
        until(lambda: self.get(path)["state"] != "loading", 180, f"{name} is built")
        model: dict[str, Any] = self.get(path)
        assert model["state"] == "available", model
        return model

    def predict(self, name: str, rows: list[list[float]]) -> list[dict[str, Any]]:
        predictions: list[dict[str, Any]] = self.post(f"models/{name}/predict", json={"instances": rows})["predictions"]
        return predictions

    def lines(self, resource: str, **params: Any) -> list[bytes]:
        """Every document of a resource that matches, as a line of JSON each, in the order of _id."""
        answer = self.request(
            "GET", resource, params={"sort": "_id", **params}, headers={"Accept": "application/x-ndjson"}
        )
        assert answer.status_code == 200, answer.text
        return answer.content.splitlines()

    def ids(self, resource: str) -> set[str]:
        return {json.loads(line)["_id"] for line in self.lines(resource, projection='{"_id": 1}')}

    def records(self) -> dict[str, tuple[int, str]]:
        """Everything that is stored: for each resource how many documents, and a digest of them all."""
        found = {}
        for resource in RESOURCES:
            lines = self.lines(resource)
            found[resource] = (len(lines), hashlib.sha256(b"\n".join(lines)).hexdigest()[:16])
        return found
