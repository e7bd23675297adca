"""`run.py job`: submit a job and watch it, list jobs, cancel one."""

from __future__ import annotations

import math
from typing import Any

import click
from bson import ObjectId
from rich.console import Console
from rich.table import Table

from api.resources import RESOURCES
from cli.options import fail, open_database, settings_or_exit
from cli.progress import watch
from ml.audit.entries import commanded
from ml.database.client import Document
from ml.database.documents import derived_etag, is_etag
from ml.database.filters import FilterError, parse_filter
from ml.errors import Changed, ServiceError
from ml.service import JOB_STATES, Service

#: Jobs in a list, where nothing is said.
LISTED = 50
#: Tries of a cancel while others change the job.
MOST_TRIES = 10


class Filter(click.ParamType[dict[str, Any]]):
    """A filter over `inputs`, as a POST to `jobs` takes it."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        try:
            return parse_filter(value, RESOURCES["inputs"].fields())
        except FilterError as error:
            self.fail(str(error), param, ctx)


class Id(click.ParamType[ObjectId]):
    """The id of a document."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ObjectId:
        if not ObjectId.is_valid(value):
            self.fail(f"expected 24 hexadecimal digits, got {value!r}", param, ctx)
        return ObjectId(value)


class Rate(click.ParamType[float]):
    """Rows a second."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            rate = float(value)
        except ValueError:
            rate = math.nan
        if not 0 < rate < math.inf:
            self.fail(f"expected a number above 0, got {value!r}", param, ctx)
        return rate


@click.group("job")
def command() -> None:
    """Submit, list and cancel jobs."""


@command.command("submit")
@click.option("--model", required=True, help="The model's name.")
@click.option("--where", type=Filter(), required=True, help="Which inputs: a filter as JSON; {} for all.")
@click.option("--version", type=click.IntRange(1, 2**31), help="A version, rather than the default one.")
@click.option("--alias", help="The version that an alias names now.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 to 9, 9 goes first.  [default: 5]")
@click.option("--follow", is_flag=True, help="Score what arrives later too, until it is canceled.")
@click.option("--max-rows-per-second", type=Rate(), help="Go no faster.")
@click.option("--wait", is_flag=True, help="Show its progress until it has ended; exit 1 where it did not succeed.")
def submit(where: dict[str, Any], wait: bool, follow: bool, **given: Any) -> None:
    """Score the stored inputs that a filter matches."""
    if given["version"] is not None and given["alias"] is not None:
        raise click.UsageError("--version and --alias exclude each other")
    job: Document = {"_id": ObjectId(), "where": where, **{k: v for k, v in given.items() if v is not None}}
    if follow:
        job["follow"] = True
    settings = settings_or_exit()
    with open_database(settings) as db:
        service = Service(db, settings.data_dir / "cache", executor=settings.executor)
        try:
            service.jobs.add(service.jobs.prepare(job, "admin", {}), commanded("create", "jobs"))
        except ServiceError as error:
            fail(error)
        finally:
            service.close()
        click.echo(f"job {job['_id']} is {job['status']}: {job['model']}:{job['version']}")
        if not wait:
            return
        try:
            ended = watch(db, job["_id"])
        except KeyboardInterrupt:
            fail(
                f"no longer watching; the job goes on. python run.py job list shows it, "
                f"python run.py job cancel {job['_id']} ends it"
            )
        progress = ended["progress"]
        click.echo(f"job {job['_id']} {ended['status']}: {progress['done']} rows, {progress['failed']} of them failed")
        if ended["status"] != "succeeded":
            fail(f"the job {job['_id']} is {ended['status']}" + (f": {ended['error']}" if "error" in ended else ""))


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=LISTED, show_default=True, help="The newest so many.")
def show(limit: int) -> None:
    """List the newest jobs."""
    with open_database(settings_or_exit()) as db:
        table = Table("id", "model", "status", "priority", "rows", "failed", "rows/s", "owner", "created", "error")
        table.columns[0].no_wrap = True
        # Without the lists of rows before they are sorted: these can be megabytes each.
        newest: list[dict[str, Any]] = [{"$unset": "inputs"}, {"$sort": {"_created": -1, "_id": -1}}, {"$limit": limit}]
        for job in db["jobs"].aggregate(newest):
            table.add_row(*_cells(job))
        Console().print(table)


@command.command("cancel")
@click.argument("id", type=Id())
def cancel(id: ObjectId) -> None:
    """End the job ID. Its results stay, and no further row appears."""
    settings = settings_or_exit()
    with open_database(settings) as db:
        service = Service(db, settings.data_dir / "cache", executor=settings.executor)
        try:
            _cancel(service, id)
        except ServiceError as error:
            fail(error)
        finally:
            service.close()
        click.echo(f"job {id} is canceled")


def _cancel(service: Service, id_: ObjectId) -> None:
    for _ in range(MOST_TRIES):
        job = service.db["jobs"].find_one({"_id": id_})
        if job is None:
            fail(f"there is no job {id_}")
        if job.get("status") not in JOB_STATES:
            fail(f"the job {id_} has no state: it was not made by Almanac")
        if not is_etag(job.get("_etag")):
            job.pop("_etag", None)
            job["_etag"] = derived_etag(job)
        try:
            service.jobs.update(job, {"status": "canceled"}, commanded("change", "jobs", ["status"]))
            return
        except Changed:
            continue  # its worker or someone else was quicker
    fail(f"the job {id_} changes all the time: try again")


def _cells(job: Document) -> list[str]:
    """A row of the table; other programs' jobs may have anything in any field."""
    progress = job.get("progress")
    progress = progress if isinstance(progress, dict) else {}
    total, rate, created = progress.get("total"), progress.get("rows_per_second"), job.get("_created")
    return [
        str(job["_id"]),
        f"{job.get('model', '?')}:{job.get('version', '?')}",
        str(job.get("status", "?")),
        str(job.get("priority", "")),
        f"{progress.get('done', 0)} of {'?' if total is None else total}",
        str(progress.get("failed", 0)),
        f"{rate:,.0f}" if isinstance(rate, (int, float)) else "",
        str(job.get("owner", "")),
        f"{created:%Y-%m-%d %H:%M:%S}" if hasattr(created, "strftime") else "",
        str(job.get("error", "")),
    ]
