"""What people write: `for doc in find(): model.predict(doc)`, in a process of its own. Prints rows a second."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.processes import ROOT, environment


def rows_a_second(file: Path, uri: str, seconds: float) -> float:
    """Over the packed rows of the database, for so many seconds; the results go nowhere."""
    command = [sys.executable, "-m", "benchmarks.loop", str(file), uri, str(seconds)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the loop failed:\n{done.stderr[-2000:]}")
    return float(done.stdout)


def _run(file: str, uri: str, seconds: float) -> float:
    import keras
    import numpy as np
    from pymongo import MongoClient

    model = keras.saving.load_model(file)
    rows = 0
    began = 0.0
    with MongoClient(uri) as client:
        for document in client.get_default_database()["inputs"].find({"tags": "wide"}):
            row = np.frombuffer(document["data"]["data"], "f4")[None]
            model.predict(row, verbose=0)
            if not began:  # the first call makes the function
                began = time.perf_counter()
                continue
            rows += 1
            if time.perf_counter() - began > seconds:
                break
    return rows / (time.perf_counter() - began)


if __name__ == "__main__":
    print(_run(sys.argv[1], sys.argv[2], float(sys.argv[3])))
