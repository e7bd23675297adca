"""A real server under load: killed, with its database stopped, with more asked than it can do, with idle connections.

TEST_KILLS says how often it is killed.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from bson import ObjectId

from tests.conftest import add_stub
from tests.end_to_end.almanac import Almanac, free_port
from tests.waiting import until

KILLS = int(os.environ.get("TEST_KILLS", "2"))
BODY = {"instances": [[1, 2, 3], [4, 5, 6]]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a model that the stub executor serves."""
    directory = tmp_path_factory.mktemp("load")
    almanac = start(directory / "data", free_port())
    with almanac.database() as client:
        add_stub(client, directory)
    until(lambda: almanac.post("models/sums/predict", json=BODY).status_code == 200, 20, "the model answers")
    assert almanac.stop() == 0
    return directory / "data"


def start(data: Path, port: int, **environment: str) -> Almanac:
    almanac = Almanac(data, port, "--no-jobs", ALMANAC_LOG_LEVEL="warning", **environment)
    almanac.wait_for("^Almanac serves at", 60)
    return almanac


@pytest.fixture
def server(data: Path) -> Iterator[Almanac]:
    almanac = start(data, free_port())
    yield almanac
    almanac.stop()


class Load:
    """Clients that send one request after the other, each over a connection of its own, until told to stop."""

    def __init__(self, almanac: Almanac, clients: int) -> None:
        self._url = f"{almanac.url}/api/v1/models/sums/predict"
        self._headers = almanac.headers
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.told: list[str] = []
        self.codes: dict[int, int] = {}
        self.wrong: list[Any] = []
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _client(self) -> None:
        session = requests.Session()
        session.headers.update(self._headers)
        while not self._stop.is_set():
            try:
                answer = session.post(self._url, json=BODY, timeout=60)
            except requests.RequestException:
                return  # the server is gone
            with self._lock:
                self.codes[answer.status_code] = self.codes.get(answer.status_code, 0) + 1
                if answer.status_code == 200:
                    predictions = answer.json()["predictions"]
                    self.told += [prediction["_id"] for prediction in predictions]
                    if [prediction["output"] for prediction in predictions] != [[6.0, 7.0], [15.0, 16.0]]:
                        self.wrong.append(predictions)
            if answer.status_code == 503:
                self._stop.wait(0.05)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def stored(almanac: Almanac, ids: list[str]) -> list[ObjectId]:
    with almanac.database() as client:
        wanted = [ObjectId(id_) for id_ in ids]
        found = client.get_default_database()["results"].find({"_id": {"$in": wanted}}, {"_id": True, "input": True})
        return [result["_id"] for result in found]


@pytest.mark.timeout(900)
def test_what_a_client_was_told_is_stored_once_however_often_the_server_is_killed(data: Path) -> None:
    rng, port, told = random.Random(11), free_port(), []
    for _ in range(KILLS):
        almanac = start(data, port)
        load = Load(almanac, 8)
        until(lambda load=load: len(load.told) > 50, 30, "the load is on")
        threading.Event().wait(rng.random())  # any moment is as good as another
        almanac.kill_all()
        load.end()
        assert not load.wrong
        told += load.told
    almanac = start(data, port)
    try:
        assert len(set(told)) == len(told)
        assert len(stored(almanac, told)) == len(told)
    finally:
        almanac.stop()


@pytest.mark.timeout(120)
def test_what_was_sent_with_a_key_is_done_once_though_the_server_is_killed_and_all_is_sent_again(data: Path) -> None:
    port = free_port()
    almanac = start(data, port)
    with almanac.database() as client:
        results = client.get_default_database()["results"]
        before = results.count_documents({})
    told: dict[str, bytes] = {}
    sent: set[str] = set()

    def send(name: int) -> None:
        for number in range(10_000):
            key = f"{name}-{number}"
            sent.add(key)
            try:
                answer = requests.post(url, json=BODY, headers={**headers, "Idempotency-Key": key}, timeout=30)
            except requests.RequestException:
                return  # the server is gone
            assert answer.status_code == 200
            told[key] = answer.content

    url, headers = f"{almanac.url}/api/v1/models/sums/predict", almanac.headers
    threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(told) > 20, 30, "answers")
    almanac.kill_all()
    for thread in threads:
        thread.join(60)
    assert len(sent) > len(told)
    almanac = start(data, port)
    try:
        with almanac.database() as client:
            db = client.get_default_database()
            db["idempotency"].update_many({}, {"$unset": {"lease": ""}})  # as 15 seconds later
            for key in sorted(sent):
                answer = requests.post(url, json=BODY, headers={**headers, "Idempotency-Key": key}, timeout=30)
                assert answer.status_code == 200
                assert answer.content == told.get(key, answer.content)
            assert db["results"].count_documents({}) == before + 2 * len(sent)
            assert db["idempotency"].count_documents({"state": "done"}) == len(sent)
    finally:
        almanac.stop()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: nothing to choose")
def test_under_load_the_interpreters_threads_share_a_core_unless_told_otherwise(data: Path, server: Almanac) -> None:
    load = Load(server, 16)
    until(lambda: len(on_one_core(server)) >= 8, 20, "threads on one core")
    # All on the same one, and the rest anywhere.
    assert len(set(on_one_core(server).values())) <= 2  # two while they go from one to the other
    load.end()
    server.stop()
    free = start(data, free_port(), ALMANAC_PIN_THREADS="false")
    try:
        load = Load(free, 16)
        until(lambda: len(load.told) > 200, 20, "answers")
        assert on_one_core(free) == {}
        load.end()
    finally:
        free.stop()


def on_one_core(almanac: Almanac) -> dict[str, str]:
    """The threads of the HTTP worker processes that may run on one core alone, with the core."""
    found = {}
    for process in psutil.Process(almanac.process.pid).children(recursive=True):
        if "http" not in process.cmdline():
            continue
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            status = (task / "status").read_text()
            allowed = next(line.split()[1] for line in status.splitlines() if line.startswith("Cpus_allowed_list"))
            if allowed.isdigit():
                found[task.name] = allowed
    return found


def test_a_database_that_hangs_costs_nothing_but_time(server: Almanac) -> None:
    mongod = next(process for process in server.family() if process.name() == "mongod")
    load = Load(server, 80)
    until(lambda: len(load.told) > 200, 30, "the load is on")
    before = memory(server)
    mongod.suspend()
    try:
        refused = load.codes.get(503, 0)
        until(lambda: load.codes.get(503, 0) > refused + 50, 20, "what waits too many is refused at once")
        for _ in range(5):
            began = time.monotonic()
            assert requests.get(f"{server.url}/health/live", timeout=5).status_code == 200
            assert time.monotonic() - began < 2
        assert memory(server) < before + 200 * 2**20
    finally:
        mongod.resume()
    count = len(load.told)
    until(lambda: len(load.told) > count + 200, 60, "it answers again by itself")
    load.end()
    assert not load.wrong
    assert set(load.codes) <= {200, 503}
    assert len(stored(server, load.told)) == len(set(load.told)) == len(load.told)


def memory(almanac: Almanac) -> int:
    """Bytes of the HTTP processes."""
    return sum(p.memory_info().rss for p in almanac.family() if "http" in p.cmdline())


def test_health_and_lists_answer_whatever_predict_does(data: Path) -> None:
    server = start(data, free_port(), ALMANAC_THREADS="16")
    try:
        load = Load(server, 60)
        until(lambda: load.codes.get(503, 0) > 20, 30, "more is asked than is admitted")
        answer = server.post("models/sums/predict", json=BODY)
        while answer.status_code == 200:
            answer = server.post("models/sums/predict", json=BODY)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert "8 predictions are under way already" in answer.json()["_error"]["message"]
        for path in ("/health/live", "/api/v1/models", "/api/v1/results?max_results=1"):
            listed = requests.get(server.url + path, headers=server.headers, timeout=10)
            assert listed.status_code == 200, path
        load.end()
        assert not load.wrong
        metrics = requests.get(f"{server.url}/metrics", headers=server.headers, timeout=10).text
        assert 'almanac_refused_total{reason="predictions"}' in metrics
    finally:
        server.stop()


def test_silent_and_idle_connections_do_not_keep_others_out(server: Almanac) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    idle = []
    for _ in range(200):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        idle.append(connection)
    try:
        began = time.monotonic()
        assert server.post("models/sums/predict", json=BODY).status_code == 200
        assert time.monotonic() - began < 5
    finally:
        for connection in silent + idle:
            connection.close()


def test_several_http_processes_answer_and_are_counted_together(data: Path) -> None:
    server = start(data, free_port(), ALMANAC_WORKERS="2")
    try:
        pids = [p.pid for p in server.family() if "http" in p.cmdline()]
        assert len(pids) == 3, "granian's main process and two workers"

        def rows() -> float:
            text = requests.get(f"{server.url}/metrics", headers=server.headers, timeout=10).text
            lines = [line for line in text.splitlines() if line.startswith("almanac_rows_total{")]
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

        for _ in range(40):
            assert server.post("models/sums/predict", json=BODY).status_code == 200
        # The process that answers counts its own at once; the other's are half a second behind at most.
        until(lambda: rows() == 80, 10, "all rows are counted, whichever process they came to")
        # One is killed: another takes its place, and nothing is uncounted.
        victim = next(psutil.Process(p.pid) for p in server.family() if "http" in p.cmdline() and p.ppid() in pids)
        victim.kill()
        until(lambda: len([p for p in server.family() if "http" in command(p)]) == 3, 30, "another worker process")
        until(lambda: answers(server), 30, "it answers")
        assert rows() >= 82
    finally:
        server.stop()


def answers(almanac: Almanac) -> bool:
    """Whether a prediction is answered; the system may have given the connection to the process that was killed."""
    try:
        return bool(almanac.post("models/sums/predict", json=BODY).status_code == 200)
    except requests.ConnectionError:
        return False


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
