"""Predictions that go on while the stack is changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from tests.stack.client import Client


@dataclass
class Traffic:
    """What came of the requests: the ids of the results, what was answered otherwise, what was not answered."""

    results: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refused: int = 0


@contextmanager
def traffic(client: Client, model: str, rows: list[list[float]], expected: list[list[float]]) -> Iterator[Traffic]:
    """Predict, one request after the other, while the block runs."""
    seen, stop = Traffic(), threading.Event()

    def send() -> None:
        while not stop.is_set():
            try:
                answer = client.request("POST", f"models/{model}/predict", json={"instances": rows})
            except requests.ConnectionError:
                seen.refused += 1
                continue
            if answer.status_code != 200:
                seen.wrong.append(answer.text)
                continue
            predictions = answer.json()["predictions"]
            if [prediction["output"] for prediction in predictions] != expected:
                seen.wrong.append(answer.text)
            seen.results += [prediction["_id"] for prediction in predictions]

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
