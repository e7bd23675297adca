"""What a newcomer does: `make run`'s path as a process, the printed curl line, a stop, a crash, another start."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from bson import ObjectId

from tests.end_to_end.almanac import ROOT, Almanac, free_port
from tests.waiting import until


def ids_of(almanac: Almanac, collection: str, **where: Any) -> set[ObjectId]:
    with almanac.database() as client:
        found = client.get_default_database()[collection].find(where, {"_id": True})
        return {document["_id"] for document in found}


def kill_in_the_middle_of_the_job(almanac: Almanac) -> None:
    with almanac.database() as client:
        jobs = client.get_default_database()["jobs"]
        until(lambda: jobs.find_one({"status": "running"}), 120, "the demo's job is running")
    almanac.kill_all()


@pytest.mark.timeout(420)
def test_the_demo_from_nothing_through_crashes_to_a_curl(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()

    # From nothing; everything, mongod too, is killed while the job runs.
    almanac = Almanac(data, port, "--demo")
    almanac.wait_for(r"^training a small network on 1437 handwritten digits")
    almanac.wait_for(r"^stored 360 held-out images")
    kill_in_the_middle_of_the_job(almanac)

    # Started again it goes on where it was: nothing is trained again, each image is scored once.
    almanac = Almanac(data, port, "--demo")
    try:
        accuracy = float(almanac.wait_for(r"^accuracy: (0\.\d{3}) \(360 stored results\)$")[1])
        assert accuracy >= 0.92
        assert "training" not in almanac.output
        curl = almanac.wait_for(r"^curl .*$")[0]
        almanac.wait_for(r"^Almanac serves at http://127\.0\.0\.1:\d+")
        assert almanac.headers["Authorization"].removeprefix("Bearer ") in almanac.output
        # Lines for people alone, and the last of them together, apart from the log.
        assert '{"time"' not in almanac.output
        assert re.search(r"\n\nAlmanac serves at .*\nadmin key: .*\nin a browser, .*\n\n", almanac.output)
        check_link(almanac)
        check_records(almanac)
        check_curl(almanac, curl)
        check_inputs_of_another_program(almanac)
        before = {name: ids_of(almanac, name) for name in ("models", "inputs", "results", "jobs")}
        assert almanac.stop(signal.SIGINT) == 0
    finally:
        if almanac.process.poll() is None:
            almanac.kill_all()

    # Stopped and started: everything is there, nothing is trained, and it is ready in under 10 s.
    began = time.monotonic()
    almanac = Almanac(data, port, "--demo")
    until(almanac.is_ready, 60, "ready")
    assert time.monotonic() - began < 10
    assert {name: ids_of(almanac, name) for name in before} == before
    assert "training" not in almanac.output

    # Killed alone, and at once the next: it comes up on the same port and holds everything.
    almanac.process.kill()
    almanac = Almanac(data, port)
    try:
        almanac.wait_for("^Almanac serves at", 60)  # the old server may answer for a moment yet
        assert {name: ids_of(almanac, name) for name in before} == before
        second = Almanac(data, free_port())
        assert second.process.wait(30) == 1
        assert str(almanac.process.pid) in second.output, "the directory is held, and by whom"
        members = almanac.family()
        assert almanac.stop() == 0
        assert not [process for process in members if process.is_running() and process.status() != "zombie"]
    finally:
        if almanac.process.poll() is None:
            almanac.kill_all()


def check_link(almanac: Almanac) -> None:
    """The link that is printed opens a session of the administrator, once."""
    link = almanac.wait_for(r"^in a browser, once, within ten minutes: (http\S+)$")[1]
    page = {"Accept": "text/html"}
    with requests.Session() as browser:
        opened = browser.get(link, headers=page, timeout=30)
        assert (opened.status_code, opened.url) == (200, f"{almanac.url}/")
        assert "Log out" in opened.text
        assert browser.get(f"{almanac.url}/api/v1/keys", timeout=30).status_code == 200
    assert requests.get(link, headers=page, timeout=30).status_code == 403


def check_records(almanac: Almanac) -> None:
    listed = almanac.get("results", params={"count": "true", "where": '{"model": "digits"}', "max_results": 400}).json()
    assert listed["_meta"]["total"] == 360
    assert len({item["input"] for item in listed["_items"]}) == 360
    job = almanac.get("jobs").json()["_items"][0]
    assert job["status"] == "succeeded"
    assert {k: job["progress"][k] for k in ("total", "done", "failed")} == {"total": 360, "done": 360, "failed": 0}
    right = sum(item["label"] == item["meta"]["class"] for item in listed["_items"])
    assert f"accuracy: {right / 360:.3f}" in almanac.output
    for name in ("admin.key", "mongo.uri"):
        assert stat.S_IMODE((almanac.data / name).stat().st_mode) == 0o600


def check_curl(almanac: Almanac, curl: str) -> None:
    pasted = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True, cwd=ROOT)
    (prediction,) = json.loads(pasted.stdout)["predictions"]
    assert prediction["label"] in "0123456789"
    assert 0 < prediction["score"] <= 1
    assert len(prediction["output"]) == 10
    by_rest = almanac.get(f"results/{prediction['_id']}").json()
    assert (by_rest["label"], by_rest["input"]) == (prediction["label"], prediction["input"])
    with almanac.database() as client:
        stored = client.get_default_database()["results"].find_one(ObjectId(prediction["_id"]))
    assert stored is not None
    assert (stored["label"], str(stored["input"])) == (prediction["label"], prediction["input"])
    assert re.fullmatch(r"[0-9a-f]{64}", stored["digest"])


def check_inputs_of_another_program(almanac: Almanac) -> None:
    """A plain PyMongo client puts rows into the collection, in both forms, and a job scores them."""
    import numpy as np

    row = np.arange(64, dtype="<f4").reshape(8, 8) % 17
    packed = {"dtype": "FP32", "shape": [8, 8], "data": row.tobytes()}
    with almanac.database() as client:
        inputs = client.get_default_database()["inputs"]
        ids = inputs.insert_many([{"data": row.tolist(), "tags": ["plain"]}, {"data": packed, "tags": ["plain"]}])
    job = almanac.post("jobs", json={"model": "digits", "where": {"tags": "plain"}}).json()
    until(lambda: almanac.get(f"jobs/{job['_id']}").json()["status"] == "succeeded", 30, "the job has ended")
    found = almanac.get("results", params={"where": json.dumps({"job": job["_id"]})}).json()["_items"]
    assert {item["input"] for item in found} == {str(id_) for id_ in ids.inserted_ids}
    assert found[0]["output"] == found[1]["output"]
    assert {item["status"] for item in found} == {"succeeded"}
