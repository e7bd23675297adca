"""A job's progress as a bar: rows, rows a second, time left."""

from __future__ import annotations

import sys
import time
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.options import fail
from ml.database.client import Document
from ml.service import JOB_ENDED

POLL_SECONDS = 0.1


def watch(db: Database[Document], job: ObjectId) -> dict[str, Any]:
    """Show the job's progress until it has ended; its document, without its list of rows."""
    columns = (
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stdout)) as bar:
        task = bar.add_task("job", total=None, rate="")
        while True:
            document = db["jobs"].find_one({"_id": job}, {"inputs": False})
            if document is None:
                fail(f"the job {job} is gone")
            progress, status = document["progress"], document["status"]
            rate = progress["rows_per_second"] if status == "running" or status in JOB_ENDED else None
            bar.update(
                task,
                total=progress["total"],
                completed=progress["done"],
                rate=f"{rate:,.0f} rows/s" if rate else status,
            )
            if status in JOB_ENDED:
                return document
            time.sleep(POLL_SECONDS)
