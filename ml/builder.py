"""Finds versions that are to be built, claims one at a time, and writes down what came of it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.build import BuildError, BuildReport, build_model
from ml.catalog import Catalog
from ml.database.blobs import Blobs
from ml.database.client import Document
from ml.database.documents import stamp_update
from ml.database.leases import expired, until

log = logging.getLogger(__name__)

LEASE_SECONDS = 20.0
POLL_SECONDS = 0.5
#: A build that took its process down so often is not tried again.
MOST_ATTEMPTS = 3
#: The newest lines of a build's log that its document keeps.
LOG_LINES = 200


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What one build may take: wall time, and the memory of its whole process group."""

    seconds: float = 300
    memory_mb: int = 8192


class Builder:
    """A thread that builds what is `loading`. Any number of them share the work, each in its process."""

    def __init__(self, db: Database[Document], scratch: Path, limits: BuildLimits) -> None:
        self._db = db
        self._blobs = Blobs(db)
        self._catalog = Catalog(db)
        self._scratch = scratch
        self._limits = limits
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._worker = f"{socket.gethostname()}:{os.getpid()}"

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop, name="builder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask the thread to end after the build that it is at; the process need not wait for that."""
        self._stop.set()

    def run_pending(self) -> int:
        """Build what can be claimed now, in this thread; the number of versions that ended."""
        count = 0
        while not self._stop.is_set() and (claimed := self._claim()) is not None:
            self._build(claimed)
            count += 1
        return count

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.run_pending()
            except PyMongoError as error:
                log.warning("builds cannot be claimed: %s", error)
            except Exception:
                log.exception("a build ended in an unexpected way; the next go on")
            self._stop.wait(POLL_SECONDS)

    def _claim(self) -> Document | None:
        claim = secrets.token_hex(8)
        found = self._db["models"].find_one_and_update(
            {"state": "loading", **expired("build.lease")},
            [
                {
                    "$set": {
                        "build.claim": claim,
                        "build.worker": self._worker,
                        "build.lease": until(LEASE_SECONDS),
                        "build.started": "$$NOW",
                        "build.attempts": {"$add": [{"$ifNull": ["$build.attempts", 0]}, 1]},
                        "build.log": [],
                    }
                }
            ],
            sort=[("_created", 1)],
            return_document=ReturnDocument.AFTER,
        )
        if found is not None and found["build"]["attempts"] > MOST_ATTEMPTS:
            self._fail(found, f"the build took its process down {MOST_ATTEMPTS} times", "")
            return self._claim()
        return found

    def _build(self, model: Document) -> None:
        log.info("building %s:%d", model["name"], model["version"])
        self._scratch.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=self._scratch, prefix="build-"))
        progress = Progress(self._db, model["_id"], model["build"]["claim"])
        try:
            file = directory / "model.keras"
            self._blobs.fetch(model["file"], file)
            sample = None
            if "sample" in model:
                sample = directory / "sample.npy"
                self._blobs.fetch(model["sample"], sample)
            work = directory / "work"
            work.mkdir()
            report = build_model(
                file,
                work,
                seconds=self._limits.seconds,
                memory_mb=self._limits.memory_mb,
                sample=sample,
                progress=progress.line,
            )
            self._finish(model, report)
        except BuildError as error:
            self._fail(model, error.reason, error.log)
        finally:
            progress.close()
            shutil.rmtree(directory, ignore_errors=True)

    def _finish(self, model: Document, report: BuildReport) -> None:
        classes = model.get("classes")
        if classes:
            problem = classes_problem(report, len(classes))
            if problem:
                self._fail(model, problem, report.log)
                return
        artefacts = {
            kind: self._blobs.put_directory(path, f"{model['name']}-{model['version']}-{kind}.tar", model=model["_id"])
            for kind, path in report.artefacts.items()
        }
        facts: dict[str, Any] = {
            **report.signature.to_document(),
            "executor": report.executor,
            "artefacts": artefacts,
            "build.table": report.table,
            "build.seconds": round(report.seconds, 3),
            "build.log": _tail(report.log),
        }
        if self._catalog.available(model["_id"], model["build"]["claim"], facts):
            log.info("%s:%d is available, built in %.1f s", model["name"], model["version"], report.seconds)
        else:
            log.warning("%s:%d was retired or built by another meanwhile", model["name"], model["version"])
            for blob in artefacts.values():
                self._blobs.delete(blob)

    def _fail(self, model: Document, reason: str, text: str) -> None:
        log.warning("%s:%d failed: %s", model["name"], model["version"], reason)
        self._db["models"].update_one(
            {"_id": model["_id"], "state": "loading", "build.claim": model["build"]["claim"]},
            {
                "$set": stamp_update({"state": "failed", "error": reason, "build.log": _tail(text)}),
                "$unset": {"pending_aliases": ""},
            },
        )


class Progress:
    """Keeps a build's lease, and writes its log to the document while it runs."""

    def __init__(self, db: Database[Document], model: ObjectId, claim: str) -> None:
        self._models = db["models"]
        self._seen = {"_id": model, "build.claim": claim}
        self._lines: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="build-lease", daemon=True)
        self._thread.start()

    def line(self, line: str) -> None:
        """Take a line of the log; it is written with the next renewal."""
        self._lines.append(line.rstrip())

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        renewed = time.monotonic()
        written = 0
        while not self._stop.wait(0.5):
            due = time.monotonic() - renewed > LEASE_SECONDS / 4
            if not due and written == len(self._lines):
                continue
            written = len(self._lines)
            try:
                self._models.update_one(
                    self._seen,
                    [
                        {
                            "$set": {
                                "build.lease": until(LEASE_SECONDS),
                                "build.log": {"$literal": self._lines[-LOG_LINES:]},
                            }
                        }
                    ],
                )
                renewed = time.monotonic()
            except PyMongoError as error:
                log.warning("the lease of a build could not be renewed: %s", error)


def classes_problem(report: BuildReport, classes: int) -> str | None:
    """Why so many classes cannot be those of this model, if they cannot."""
    outputs = report.signature.outputs
    if len(outputs) != 1:
        return f"classes were given, but the model has {len(outputs)} outputs"
    width = outputs[0].shape[-1] if outputs[0].shape else 1
    if width == classes or (width == 1 and classes == 2) or width is None:
        return None
    return f"{classes} classes were given, but the output {outputs[0].name!r} is {outputs[0]}"


def _tail(text: str) -> list[str]:
    return text.splitlines()[-LOG_LINES:]
