"""A real Almanac (supervisor, HTTP server, worker, mongod) that is hurt and started again, with more workers beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
from bson import ObjectId
from pymongo import MongoClient

from ml.database.client import connect, database_of
from tests.conftest import add_stub
from tests.end_to_end.almanac import ROOT, Almanac, free_port
from tests.faults.tally import Tally
from tests.faults.workers import Workers, is_dead
from tests.waiting import until

ROWS = 5_000
#: Makes a job of that many rows last for about a second.
SECONDS_PER_ROW = 0.0002
LEASE_SECONDS = 2.0
#: A worker that is killed or stopped within a commit leaves its transaction open for as long as mongod lets it (20 s as
#: Almanac starts it), and its rows wait for that.
OPEN_TRANSACTION_SECONDS = 20
#: Within this a job of 5,000 rows ends, whatever is killed meanwhile, on a machine that has other work too.
END_SECONDS = 90 + OPEN_TRANSACTION_SECONDS
ENDED = ("succeeded", "failed", "canceled")


class Cluster:
    """`run.py serve` on one data directory and port, with 5,000 inputs (tag `rows`) and the stub model `sums`.

    The row number i, from 1 on, has the sum i.
    """

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self._port = free_port()
        self._logs = directory
        self.almanac = self._start()
        self.client: MongoClient[dict[str, Any]] = connect((self.data / "mongo.uri").read_text().strip())
        self.db = database_of(self.client)
        self._models = directory
        self._artefact = self.add_model("sums", SECONDS_PER_ROW)
        self.add_rows("probe", 1, ROWS + 1)
        self.workers = Workers(self.data, directory / "workers.log", LEASE_SECONDS)
        #: By _id, the sum of each.
        self.inputs = self.add_rows("rows", ROWS)

    def _start(self) -> Almanac:
        almanac = Almanac(self.data, self._port, ALMANAC_LEASE_SECONDS=str(LEASE_SECONDS), ALMANAC_LOG_FORMAT="console")
        almanac.wait_for("^Almanac serves at", 60)
        return almanac

    def add_model(self, name: str, seconds_per_row: float) -> ObjectId:
        """A model that tallies; the name of its artefact's directory."""
        model = add_stub(self.client, self._models, name, seconds_per_row=seconds_per_row, tally=True)
        artefact: ObjectId = model["artefacts"]["stub"]
        return artefact

    def add_rows(self, tag: str, count: int, first: int = 1) -> dict[ObjectId, int]:
        """Inputs with that tag, and the sum of each."""
        rows = {ObjectId(): number for number in range(first, first + count)}
        self.db["inputs"].insert_many(
            [{"_id": id_, "data": [float(number), 0.0, 0.0], "tags": [tag]} for id_, number in rows.items()]
        )
        return rows

    def tally(self, artefact: ObjectId | None = None) -> Tally:
        """Of the calls from now on, of `sums` or of the model with that artefact."""
        return Tally(self.data / "cache" / "artefacts" / str(artefact or self._artefact) / "tally")

    # Jobs

    def submit(self, tag: str = "rows", model: str = "sums", **job: Any) -> ObjectId:
        answer = self.almanac.post("jobs", json={"model": model, "where": {"tags": tag}, **job})
        assert answer.status_code == 201, answer.text
        return ObjectId(answer.json()["_id"])

    def wish(self, job: ObjectId, status: str) -> dict[str, Any]:
        """PATCH a job's status; the answer."""
        answer = requests.patch(
            f"{self.almanac.url}/api/v1/jobs/{job}",
            json={"status": status},
            headers={**self.almanac.headers, "If-Match": "*"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def job(self, id_: ObjectId) -> dict[str, Any]:
        found = self.db["jobs"].find_one({"_id": id_})
        assert found is not None
        return found

    def wait_for_end(self, id_: ObjectId, seconds: float = END_SECONDS) -> dict[str, Any]:
        """The job when it has ended, in the database; what the processes printed where it does not end."""
        try:
            until(lambda: self.job(id_)["status"] in ENDED, seconds, "the job ends")
        except AssertionError:
            print(self.job(id_), self.printed())
            raise
        return self.job(id_)

    def count(self, job: ObjectId) -> int:
        """How many results it has."""
        return self.db["results"].count_documents({"job": job})

    def run_probe(self) -> None:
        """Have a job of one row done: every worker that could take it has let go of what it did before."""
        assert self.wait_for_end(self.submit("probe"))["status"] == "succeeded"

    # Processes

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.almanac.process.pid)

    def find(self, argument: str) -> psutil.Process | None:
        """The supervisor's child that runs `run.py ARGUMENT`, or mongod."""
        for process in self.supervisor.children():
            try:
                if is_dead(process):
                    continue
                if argument == process.name() or argument in process.cmdline()[2:3]:
                    return process
            except psutil.Error:  # it has just ended
                continue
        return None

    def process(self, name: str) -> psutil.Process:
        """The same, waited for."""
        return until(lambda: [found] if (found := self.find(name)) else [], 60, f"{name} is there")[0]

    def wait_until_whole(self) -> None:
        """Until all processes are there, and HTTP is ready; started again where a failed test left nothing."""
        if self.almanac.process.poll() is not None:
            self.almanac = self._start()
        for name in ("http", "worker", "mongod"):
            self.process(name)
        until(self.almanac.is_ready, 60, "HTTP is ready")

    def start_again(self) -> None:
        """As a machine's service manager does it with a server that has ended, or is ending."""
        self.almanac.process.wait(60)
        self.almanac = self._start()

    def holder(self, job: ObjectId) -> psutil.Process | None:
        """The worker process that has it now."""
        name = self.job(job).get("worker")
        if name is None:
            return None
        try:
            return psutil.Process(int(name.rsplit(":", 1)[1]))
        except psutil.NoSuchProcess:
            return None

    @contextmanager
    def another_worker(self) -> Iterator[psutil.Process]:
        """One more `run.py worker`, which takes jobs from the beginning on."""
        with self.workers.start(str(ROOT / "run.py"), "worker") as process:
            with self.own_worker_stopped():
                self.run_probe()
            yield process

    @contextmanager
    def own_worker_stopped(self) -> Iterator[psutil.Process]:
        """Almanac's own worker, asleep until the end or until it is resumed."""
        process = self.process("worker")
        process.suspend()
        try:
            yield process
        finally:
            if process.is_running():
                process.resume()

    def printed(self) -> str:
        """The last of what all processes printed."""
        logs = sorted(self._logs.glob("*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-6000:]}" for path in logs[-3:])

    def close(self) -> None:
        self.workers.close()
        self.client.close()
        self.almanac.stop()
