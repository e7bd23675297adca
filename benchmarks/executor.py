"""The model alone: its executor called in a loop in a process of its own. Prints rows a second."""

from __future__ import annotations

import sys
import time
from itertools import cycle
from pathlib import Path

from pymongo import MongoClient

from benchmarks.npy import batch_of_rows
from ml.executors import load_executor
from ml.processor import here
from ml.signature import Signature
from ml.ways import ways_here


def rows_a_second(data: Path, seconds: float, batch: int) -> float:
    """The executor that the server on this data directory runs, with what the server fetched of the model."""
    with MongoClient((data / "mongo.uri").read_text().strip()) as client:
        document = client.get_default_database()["models"].find_one({"name": "mlp", "state": "available"})
    if document is None:
        raise RuntimeError("the model is not there")
    way = ways_here(document, here())[0]
    artefact = data / "cache" / "artefacts" / str(way.artefact)
    signature = Signature.from_document(document)
    executor = load_executor(way.executor, artefact, signature, way.threads)
    rows, name = batch_of_rows(), signature.inputs[0].name
    # In turn, as a server would meet them: the same rows again would lie in the cache.
    parts = [{name: rows[at : at + batch]} for at in range(0, len(rows) - batch + 1, batch)]
    executor.run(parts[0])
    calls = 0
    began = time.perf_counter()
    for part in cycle(parts):
        executor.run(part)
        calls += 1
        took = time.perf_counter() - began
        if took >= seconds:
            break
    executor.close()
    return calls * batch / took


if __name__ == "__main__":
    print(rows_a_second(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
