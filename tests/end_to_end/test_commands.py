"""The command line as processes: wrong usage, models, workers, and what becomes of serving when a part of it dies."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from cli import serve
from ml.database.client import connect, database_of
from ml.database.embedded import EmbeddedMongo
from tests.conftest import ADMIN_KEY
from tests.end_to_end.almanac import ROOT, Almanac, free_port
from tests.waiting import until

#: On a machine that does not build, the doctor needs a second; else it tries TensorFlow twice, which takes ten. Where
#: that is there, the commands of docs/operations.md call it.
NO_TENSORFLOW = {"PYTHONPATH": str(Path(__file__).with_name("without_tensorflow"))}


def run(*arguments: str, data: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
    own = {"ALMANAC_DATA_DIR": str(data)} if data else {}
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        env={**kept, **own, "ALMANAC_LOG_LEVEL": "warning", **environment},
        cwd=data.parent if data else ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["serve", "--nothing"],
        ["model", "add"],
        ["--port", "x"],
        ["doctor", "--nothing"],
        ["job", "submit", "--model", "m", "--where", "{"],
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments, data=tmp_path / "data")
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("ALMANAC_PORT", "0", "ALMANAC_PORT is '0': input should be greater than or equal to 1"),
        ("ALMANAC_RETENTION_DAYS", "0", "ALMANAC_RETENTION_DAYS is '0': input should be greater than 0"),
        ("ALMANAC_PROT", "8000", "ALMANAC_PROT is no setting; there are ALMANAC_ADMIN_KEY"),
        ("ALMANAC_MONGO_URI", "mongodb://h/almanac", "ALMANAC_ADMIN_KEY is not set: with ALMANAC_MONGO_URI it must"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(name: str, value: str, line: str, tmp_path: Path) -> None:
    done = run("serve", data=tmp_path / "data", **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"almanac: {line}")
    assert done.stderr.count("\n") == 1


def test_help_needs_no_database_and_names_the_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("serve", "worker", "demo", "model", "job", "doctor"):
        assert command in done.stdout


def test_a_worker_without_an_almanac_says_what_to_do(tmp_path: Path) -> None:
    done = run("worker", data=tmp_path / "data")
    assert done.returncode == 1
    assert "start one, or set ALMANAC_MONGO_URI" in done.stderr


def test_a_file_that_is_no_model_fails_with_the_reason(digits: Almanac, tmp_path: Path) -> None:
    file = tmp_path / "no.keras"
    file.write_text("not a model")
    done = run("model", "add", str(file), "--name", "no-model", data=digits.data)
    assert done.returncode == 1
    assert "no-model:1 is failed" in done.stderr
    assert "zip" in done.stderr
    listed = run("model", "list", data=digits.data, COLUMNS="200")
    assert listed.returncode == 0
    assert "no-model" in listed.stdout
    assert "digits" in listed.stdout
    answer = digits.post("models/no-model/predict", json={"instances": [[1]]})
    assert answer.status_code == 409
    assert "no-model:1 is failed" in answer.json()["_error"]["message"]


def test_a_job_from_the_command_line_is_run_and_its_rows_are_counted(digits: Almanac) -> None:
    done = run("job", "submit", "--model", "digits", "--where", '{"tags": "digits-demo"}', "--wait", data=digits.data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^job \w{24} succeeded: 360 rows, 0 of them failed$", done.stdout, re.MULTILINE)
    listed = run("job", "list", data=digits.data, COLUMNS="200")
    assert re.search(r" succeeded .* 360 of 360 ", listed.stdout)


def test_the_doctor_finds_nothing_wrong_with_one_that_runs(digits: Almanac) -> None:
    done = run("doctor", data=digits.data, **NO_TENSORFLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ ok, \d+ warning, 0 WRONG", last)
    assert "ok       alias stable of digits: version 1" in lines
    assert all(line.startswith(("ok       ", "warning  ", "         -> ")) for line in lines)
    found = json.loads(run("doctor", "--json", data=digits.data, **NO_TENSORFLOW).stdout)
    assert found["well"] is True
    assert {"level": "ok", "about": "alias stable of digits", "found": "version 1", "advice": None} in found["findings"]


def test_the_doctor_says_what_to_do_about_a_database_that_is_not_there(tmp_path: Path) -> None:
    elsewhere = {"ALMANAC_MONGO_URI": "mongodb://127.0.0.1:1/almanac", "ALMANAC_ADMIN_KEY": "k" * 16}
    done = run("doctor", data=tmp_path / "data", **elsewhere, **NO_TENSORFLOW)
    assert done.returncode == 1
    assert "\nok       executor tf: tensorflow is not installed, so that nothing is run by it here\n" in done.stdout
    assert "\nWRONG    database: it cannot be reached: 127.0.0.1:1: " in done.stdout
    assert "\n         -> see that MongoDB runs" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" 1 WRONG")
    assert done.stderr == ""


def test_the_doctor_makes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = run("doctor", data=data, **NO_TENSORFLOW)
    assert done.returncode == 0, done.stdout
    assert "warning  database: there is none in " in done.stdout
    assert not data.exists()
    with EmbeddedMongo(data):
        pass  # a database that no Almanac has prepared
    done = run("doctor", "--json", data=data, **NO_TENSORFLOW)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["well"] is False
    assert {"document shape", "indexes of inputs", "validator on inputs"} <= {
        one["about"] for one in found["findings"] if one["level"] == "WRONG" and one["advice"]
    }
    mongo = EmbeddedMongo(data)
    with connect(mongo.start()) as client:
        assert database_of(client).list_collection_names() == []
    mongo.stop()
    (data / "mongod.key").write_text("no key")
    done = run("doctor", data=data, **NO_TENSORFLOW)
    assert done.returncode == 1
    assert re.search(r"^WRONG    database: the embedded MongoDB did not start, mongod .*", done.stdout, re.MULTILINE)


def test_a_worker_of_its_own_answers_health_and_ends_on_sigterm(digits: Almanac) -> None:
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
    worker = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "worker", "--port", str(port)],
        env={**kept, "ALMANAC_DATA_DIR": str(digits.data), "ALMANAC_LOG_LEVEL": "warning"},
    )
    try:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return requests.get(f"{url}/health/ready", timeout=2).status_code == 200
            except requests.ConnectionError:
                return False

        until(answers, 30, "the worker is ready")
        assert requests.get(f"{url}/metrics", timeout=2).status_code == 401
        assert requests.get(f"{url}/metrics", headers=digits.headers, timeout=2).status_code == 200
        assert requests.get(f"{url}/api/v1/models", headers=digits.headers, timeout=2).status_code == 404
        worker.terminate()
        assert worker.wait(30) == 0
    finally:
        worker.kill()


def test_what_dies_is_started_again_and_nothing_is_lost(digits: Almanac) -> None:
    def part(name: str) -> Any:
        return next((process for process in digits.family() if name in command(process)), None)

    row = [[0] * 8] * 8
    first = digits.post("models/digits/predict", json={"instances": [row]}).json()["predictions"][0]["_id"]

    worker = part("run.py worker")
    worker.kill()
    until(lambda: (found := part("run.py worker")) is not None and found.pid != worker.pid, 30, "another worker")
    job = digits.post("jobs", json={"model": "digits", "inputs": [digits.get("inputs").json()["_items"][0]["_id"]]})
    path = f"jobs/{job.json()['_id']}"
    until(lambda: digits.get(path).json()["status"] == "succeeded", 60, "its job has ended")

    part("/mongod ").kill()
    until(lambda: digits.get(f"results/{first}").status_code == 200, 60, "the database is back")
    until(digits.is_ready, 30, "ready")
    again = digits.post("models/digits/predict", json={"instances": [row]})
    assert again.status_code == 200


def test_an_unstored_prediction_is_answered_without_the_database(digits: Almanac) -> None:
    mongod = next(process for process in digits.family() if "/mongod " in command(process))
    body = {"instances": [[[0] * 8] * 8], "store": "none"}
    assert digits.post("models/digits/predict", json=body).status_code == 200
    mongod.suspend()
    try:
        answer = digits.post("models/digits/predict", json=body)
        assert answer.status_code == 200
        assert "_id" not in answer.json()["predictions"][0]
        assert requests.get(f"{digits.url}/health/live", timeout=5).status_code == 200
        ready = until(
            lambda: requests.get(f"{digits.url}/health/ready", timeout=10).json().get("reasons"), 20, "it is not ready"
        )
        assert "the database does not answer" in ready[0]
    finally:
        mongod.resume()
    until(digits.is_ready, 30, "ready")


def test_a_request_id_goes_through_to_the_result_and_the_log(digits: Almanac) -> None:
    headers = {**digits.headers, "X-Request-ID": "order-4711"}
    body = {"instances": [[[0] * 8] * 8]}
    answer = requests.post(f"{digits.url}/api/v1/models/digits/predict", headers=headers, json=body, timeout=30)
    assert answer.headers["X-Request-ID"] == "order-4711"
    result = digits.get(f"results/{answer.json()['predictions'][0]['_id']}").json()
    assert result["request"] == "order-4711"
    until(lambda: "order-4711" in digits.output, 10, "its line in the log")


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "PORT_SECONDS", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port} cannot be listened on"):
            serve.wait_for_port("127.0.0.1", port, lambda: False)
    serve.wait_for_port("127.0.0.1", port, lambda: False)


def replica(mongod: str, data: Path, **environment: str) -> Almanac:
    """One with nothing to do but answer HTTP: the database is another's, and so are the jobs."""
    settings = {"ALMANAC_MONGO_URI": mongod, "ALMANAC_ADMIN_KEY": ADMIN_KEY, "ALMANAC_LOG_LEVEL": "warning"}
    return Almanac(data, free_port(), "--no-jobs", **{**settings, **environment})


def test_a_replica_alone_is_the_server_itself_and_ends_in_order(
    client: Any, mongod: str, stub: Callable[..., Any], tmp_path: Path
) -> None:
    stub(client)
    almanac = replica(mongod, tmp_path / "data", ALMANAC_WORKERS="2", ALMANAC_LOG_LEVEL="info")
    almanac.wait_for("^admin key: as given in ALMANAC_ADMIN_KEY$", 60)
    until(lambda: len(almanac.family()) == 3, 10, "it and its two workers, and nothing else")
    assert almanac.output.count("Almanac serves at ") == 1
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "X-Request-ID": "the-last"}
    url = f"{almanac.url}/api/v1/models/sums/predict"
    workers = almanac.family()[1:]
    assert requests.post(url, json={"instances": [[1, 2, 3]]}, headers=headers, timeout=10).status_code == 200
    assert almanac.stop() == 0
    assert "the-last" in almanac.output
    assert not any(worker.is_running() for worker in workers)


def test_a_stop_that_comes_while_a_replica_starts_is_heeded(mongod: str, tmp_path: Path) -> None:
    almanac = replica(mongod, tmp_path / "data")
    until(lambda: "http" in psutil.Process(almanac.process.pid).cmdline(), 30, "it has become the server")
    assert almanac.stop() == 0, almanac.output


def test_no_process_that_serves_has_loaded_tensorflow_or_keras(digits: Almanac) -> None:
    (model,) = digits.get("models", params={"where": '{"name": "digits"}'}).json()["_items"]
    assert model["executor"] in ("onnx", "openvino")
    stored = digits.get("inputs", params={"max_results": 1}).json()["_items"][0]["_id"]
    assert digits.post("models/digits/predict", json={"inputs": [stored]}).status_code == 200
    maps = {process.pid: Path(f"/proc/{process.pid}/maps").read_text() for process in digits.family()}
    assert any("onnxruntime" in text or "openvino" in text for text in maps.values()), "what serves is looked at"
    assert not [pid for pid, text in maps.items() if "tensorflow" in text or "h5py" in text]
