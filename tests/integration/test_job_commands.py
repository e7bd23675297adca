"""`run.py job` against a real mongod: what is submitted, shown and canceled, and its exit codes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from click.testing import CliRunner, Result

from cli import group, job, logs
from ml.database.client import database_of
from ml.jobs import states
from ml.jobs.worker import Worker
from ml.service import Service
from tests.conftest import ADMIN_KEY
from tests.integration.rest import Client, stored
from tests.waiting import until


@pytest.fixture
def run(client: Client, mongod: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `job` with these arguments, in this process."""
    monkeypatch.setattr(logs, "set_up", lambda settings: None)
    monkeypatch.setenv("ALMANAC_MONGO_URI", mongod)
    monkeypatch.setenv("ALMANAC_ADMIN_KEY", ADMIN_KEY)
    monkeypatch.setenv("ALMANAC_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(group, ["job", *arguments])


def submitted(client: Client) -> dict[str, Any]:
    (found,) = stored(client, "jobs")
    return found


def work(client: Client, tmp_path: Path) -> None:
    service = Service(database_of(client), tmp_path / "cache")
    until(lambda: stored(client, "jobs"))
    Worker(service.db, service.registry, threading.Event()).run_pending()
    service.close()


def test_a_job_as_a_post_would_have_made_it(run: Callable[..., Result], client: Client, serve: Any) -> None:
    serve(version=1, aliases={"old": 1})
    serve(version=2, aliases={"old": 1})
    day, id_ = "2026-01-01T00:00:00Z", str(ObjectId())
    where = {"tags": "a", "_created": {"$gte": day}, "_id": {"$ne": id_}}
    done = run("submit", "--model", "sums", "--where", json.dumps(where))
    assert done.exit_code == 0, done.output
    made = submitted(client)
    assert done.output == f"job {made['_id']} is queued: sums:2\n"
    cast = {"tags": "a", "_created": {"$gte": datetime(2026, 1, 1, tzinfo=UTC)}, "_id": {"$ne": ObjectId(id_)}}
    assert (made["where"], made["owner"], made["scope"], made["priority"]) == (cast, "admin", {}, 5)
    assert not {"follow", "alias", "max_rows_per_second"} & made.keys()
    database_of(client)["jobs"].delete_many({})
    options = ["--alias", "old", "--priority", "9", "--follow", "--max-rows-per-second", "2.5"]
    assert run("submit", "--model", "sums", "--where", "{}", *options).exit_code == 0
    made = submitted(client)
    assert (made["version"], made["alias"], made["priority"]) == (1, "old", 9)
    assert (made["follow"], made["max_rows_per_second"]) == (True, 2.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submit", "--where", "{}"], "Missing option '--model'"),
        (["submit", "--model", "sums"], "Missing option '--where'"),
        (["submit", "--model", "sums", "--where", "{"], "Invalid value for '--where': not JSON"),
        (["submit", "--model", "sums", "--where", "[]"], "Invalid value for '--where': expected an object, got a list"),
        (["submit", "--model", "sums", "--where", '{"nope": 1}'], "Invalid value for '--where': nope: no such field"),
        (["submit", "--model", "sums", "--where", '{"$where": "1"}'], "Invalid value for '--where': $where: the oper"),
        (["submit", "--model", "sums", "--where", '{"_id": "x"}'], "Invalid value for '--where': _id: expected obje"),
        (["submit", "--model", "sums", "--where", "{}", "--version", "0"], "Invalid value for '--version'"),
        (["submit", "--model", "sums", "--where", "{}", "--priority", "10"], "Invalid value for '--priority'"),
        (["submit", "--model", "sums", "--where", "{}", "--version", "1", "--alias", "a"], "exclude each other"),
        *(
            (["submit", "--model", "m", "--where", "{}", "--max-rows-per-second", rate], "expected a number above 0")
            for rate in ("0", "-1", "nan", "inf", "x")
        ),
        (["cancel", "x"], "Invalid value for 'ID': expected 24 hexadecimal digits, got 'x'"),
        (["cancel"], "Missing argument 'ID'"),
        (["list", "--limit", "0"], "Invalid value for '--limit'"),
        (["nothing"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_2_and_names_the_option(
    run: Callable[..., Result], client: Client, serve: Any, arguments: list[str], message: str
) -> None:
    serve()
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not stored(client, "jobs")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "other"], "almanac: there is no model 'other'; there are: sums\n"),
        (["--model", "sums", "--version", "7"], "almanac: sums has no version 7; there are: 1\n"),
        (["--model", "sums", "--alias", "a"], "almanac: sums has no alias 'a'; there are: none\n"),
    ],
)
def test_a_model_that_there_is_not_is_exit_1(
    run: Callable[..., Result], client: Client, serve: Any, options: list[str], message: str
) -> None:
    serve()
    done = run("submit", "--where", "{}", *options)
    assert (done.exit_code, done.stderr) == (1, message)
    assert not stored(client, "jobs")


def test_it_waits_for_the_end(run: Callable[..., Result], client: Client, serve: Any, tmp_path: Path) -> None:
    serve(fail_on=13.0)
    rows = [[1.0, 2.0, 3.0], [1.0, 2.0, 10.0]]
    database_of(client)["inputs"].insert_many([{"data": row, "tags": ["t"]} for row in rows])
    worker = threading.Thread(target=work, args=(client, tmp_path))
    worker.start()
    done = run("submit", "--model", "sums", "--where", '{"tags": "t"}', "--wait")
    worker.join(20)
    assert done.exit_code == 0, done.output
    id_ = submitted(client)["_id"]
    assert done.output.startswith(f"job {id_} is queued: sums:1\n")
    assert "2/2" in done.output
    assert " rows/s" in done.output
    assert done.output.endswith(f"job {id_} succeeded: 2 rows, 1 of them failed\n")


@pytest.mark.parametrize("end", ["failed", "canceled"])
def test_an_end_that_is_no_success_is_exit_1(run: Callable[..., Result], client: Client, serve: Any, end: str) -> None:
    serve()
    jobs = database_of(client)["jobs"]

    def finish() -> None:
        until(lambda: stored(client, "jobs"))
        if end == "canceled":
            assert run("cancel", str(submitted(client)["_id"])).exit_code == 0
        else:
            claimed = states.claim(jobs, "w")
            assert claimed is not None
            states.fail(jobs, claimed, "it cannot be")

    other = threading.Thread(target=finish)
    other.start()
    done = run("submit", "--model", "sums", "--where", "{}", "--wait")
    other.join(20)
    assert done.exit_code == 1
    reason = ": it cannot be" if end == "failed" else ""
    assert done.stderr == f"almanac: the job {submitted(client)['_id']} is {end}{reason}\n"


def test_ctrl_c_leaves_the_job_and_says_how_to_look_at_it(
    run: Callable[..., Result], client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "watch", interrupted)
    done = run("submit", "--model", "sums", "--where", "{}", "--wait")
    assert done.exit_code == 1
    assert submitted(client)["status"] == "queued"
    assert f"the job goes on. python run.py job list shows it, python run.py job cancel {submitted(client)['_id']}" in (
        done.stderr
    )


def test_a_list_of_the_newest(run: Callable[..., Result], client: Client, serve: Any) -> None:
    serve()
    for _ in range(3):
        assert run("submit", "--model", "sums", "--where", "{}").exit_code == 0
    jobs = database_of(client)["jobs"]
    claimed = states.claim(jobs, "w")
    assert claimed is not None
    states.advance(jobs, claimed, {}, {"done": 1000, "total": 2000, "failed": 3, "rows_per_second": 1234.5})
    strange = jobs.insert_one({"status": ["x"], "progress": 5, "_created": "then", "error": {"a": 1}}).inserted_id
    done = run("list")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    (line,) = [line for line in lines if str(claimed["_id"]) in line]
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells[1:8] == ["sums:1", "running", "5", "1000 of 2000", "3", "1,234", "admin"]
    assert cells[8] == f"{claimed['_created']:%Y-%m-%d %H:%M:%S}"
    assert any(str(strange) in line for line in lines)
    assert sum("sums:1" in line for line in lines) == 3
    shown = run("list", "--limit", "1").output
    dated = [found for found in stored(client, "jobs") if found["_id"] != strange]
    newest = max(dated, key=lambda found: (found["_created"], found["_id"]))
    assert [found["_id"] for found in stored(client, "jobs") if str(found["_id"]) in shown] == [newest["_id"]]


def test_a_cancel(run: Callable[..., Result], client: Client, serve: Any) -> None:
    serve()
    assert run("submit", "--model", "sums", "--where", "{}").exit_code == 0
    id_ = submitted(client)["_id"]
    done = run("cancel", str(id_))
    assert (done.exit_code, done.output) == (0, f"job {id_} is canceled\n")
    assert submitted(client)["status"] == "canceled"
    again = run("cancel", str(id_))
    assert (again.exit_code, again.stderr) == (1, "almanac: the job is canceled; from there it can be queued\n")
    nobody = ObjectId()
    missing = run("cancel", str(nobody))
    assert (missing.exit_code, missing.stderr) == (1, f"almanac: there is no job {nobody}\n")
    strange = database_of(client)["jobs"].insert_one({"status": "lost"}).inserted_id
    assert "has no state" in run("cancel", str(strange)).stderr
    untagged = database_of(client)["jobs"].insert_one({"model": "sums", "version": 1, "status": "queued", "fence": 0})
    assert run("cancel", str(untagged.inserted_id)).exit_code == 0
