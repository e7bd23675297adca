"""Finds versions that are to be built, claims one at a time, and writes down what came of it."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.build import BuildError, BuildReport, Turn, build_model
from ml.catalog import Catalog
from ml.database.blobs import Blobs
from ml.database.client import Document
from ml.database.documents import stamp_update
from ml.database.leases import expired, until
from ml.processor import here, not_fitting

log = logging.getLogger(__name__)

LEASE_SECONDS = 20.0
POLL_SECONDS = 0.5
#: How often it is looked whether what is available was built on processors that this one is not like.
ELSEWHERE_SECONDS = 5.0
#: A build that took its process down so often is not tried again.
MOST_ATTEMPTS = 3
#: The newest lines of a build's log that its document keeps.
LOG_LINES = 200
#: A line of more characters is cut: all of them are in one document.
LINE_CHARACTERS = 2000


#: How a build's process begins a line that says by what it is not held.
NOT_HELD = "the kernel here holds a build with no "

#: What must be installed where models are built.
NEEDS = ("keras", "tensorflow", "tf2onnx")

#: The part of a version's document that tells of a build: the one that made it available, or a later one for another
#: processor.
Place = Literal["build", "rebuild"]


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What one build may take: wall time, and the memory of its whole process group."""

    seconds: float = 300
    memory_mb: int = 8192


class Builder:
    """A thread that builds what is `loading`. Any number of them share the work, each in its process."""

    def __init__(self, db: Database[Document], scratch: Path, limits: BuildLimits, forced: str | None = None) -> None:
        self._db = db
        self._blobs = Blobs(db)
        self._catalog = Catalog(db)
        self._scratch = scratch
        self._limits = limits
        #: The executor that is to be chosen, whichever is quickest.
        self._forced = forced
        self._looked = -ELSEWHERE_SECONDS
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._worker = f"{socket.gethostname()}:{os.getpid()}"

    def start(self) -> None:
        """Build from now on, where that can be done here."""
        missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
        if missing:
            log.info("models are not built here: %s is not installed", ", ".join(missing))
            return
        self._thread = threading.Thread(target=self._loop, name="builder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask the thread to end after the build that it is at; the process need not wait for that."""
        self._stop.set()

    def run_pending(self) -> int:
        """Build what can be claimed now, in this thread; the number of versions that ended."""
        count = 0
        while not self._stop.is_set() and (claimed := self._claim()) is not None:
            self._build(*claimed)
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

    def _claim(self) -> tuple[Document, Place] | None:
        """A version to build, and the part of its document that tells of the build."""
        found = self._claim_one({"state": "loading"}, "build")
        if found is not None:
            return found, "build"
        if time.monotonic() - self._looked < ELSEWHERE_SECONDS:
            return None
        found = self._claim_one(not_fitting(here()), "rebuild")
        if found is not None:
            return found, "rebuild"
        self._looked = time.monotonic()
        return None

    def _claim_one(self, wanted: Mapping[str, Any], place: Place) -> Document | None:
        attempts = f"{place}.attempts"
        found = self._db["models"].find_one_and_update(
            {"$and": [wanted, expired(f"{place}.lease")]},
            [
                {
                    "$set": {
                        f"{place}.claim": secrets.token_hex(8),
                        f"{place}.worker": self._worker,
                        f"{place}.lease": until(LEASE_SECONDS),
                        f"{place}.started": "$$NOW",
                        attempts: {"$add": [{"$ifNull": [f"${attempts}", 0]}, 1]},
                        f"{place}.log": [],
                    }
                }
            ],
            sort=[("_created", 1)],
            return_document=ReturnDocument.AFTER,
        )
        if found is not None and found[place]["attempts"] > MOST_ATTEMPTS:
            self._fail(found, place, f"the build took its process down {MOST_ATTEMPTS} times", "")
            return self._claim_one(wanted, place)
        return found

    def _build(self, model: Document, place: Place) -> None:
        log.info("building %s:%d", model["name"], model["version"])
        self._scratch.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=self._scratch, prefix="build-"))
        progress = Progress(self._db, model["_id"], model[place]["claim"], place)
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
                forced=self._forced,
                # Predictions come first.
                turn=Turn.LAST,
                progress=progress.line,
            )
            self._finish(model, place, report)
        except BuildError as error:
            self._fail(model, place, error.reason, error.log)
        finally:
            progress.close()
            shutil.rmtree(directory, ignore_errors=True)

    def _finish(self, model: Document, place: Place, report: BuildReport) -> None:
        classes = model.get("classes")
        if place == "build" and classes:
            problem = classes_problem(report, len(classes))
            if problem:
                self._fail(model, place, problem, report.log)
                return
        artefacts = {
            kind: self._blobs.put_directory(path, f"{model['name']}-{model['version']}-{kind}.tar", model=model["_id"])
            for kind, path in report.artefacts.items()
        }
        made = {
            "processor": here(),
            "ways": report.ways,
            "table": report.table,
            "seconds": round(report.seconds, 3),
            "log": _tail(report.log),
        }
        claim = model[place]["claim"]
        if place == "rebuild":
            kept = self._catalog.available_elsewhere(model["_id"], claim, {**made, "artefacts": artefacts})
        else:
            facts = {f"build.{key}": value for key, value in made.items()}
            signature = report.signature.to_document()
            facts |= {**signature, "executor": report.executor, "artefacts": artefacts}
            kept = self._catalog.available(model["_id"], claim, facts)
        if kept:
            log.info("%s:%d is available, built in %.1f s", model["name"], model["version"], report.seconds)
        else:
            log.warning("%s:%d was retired or built by another meanwhile", model["name"], model["version"])
            for blob in artefacts.values():
                self._blobs.delete(blob)

    def _fail(self, model: Document, place: Place, reason: str, text: str) -> None:
        log.warning("%s:%d failed: %s", model["name"], model["version"], reason)
        claim = model[place]["claim"]
        if place == "rebuild":
            # It stays available to others.
            made = {"processor": here(), "error": reason, "log": _tail(text)}
            self._catalog.available_elsewhere(model["_id"], claim, made)
            return
        self._db["models"].update_one(
            {"_id": model["_id"], "state": "loading", "build.claim": claim},
            {
                "$set": stamp_update({"state": "failed", "error": reason, "build.log": _tail(text)}),
                "$unset": {"pending_aliases": ""},
            },
        )


class Progress:
    """Keeps a build's lease, and writes its log to the document while it runs."""

    def __init__(self, db: Database[Document], model: ObjectId, claim: str, place: Place) -> None:
        self._models = db["models"]
        self._place = place
        self._seen = {"_id": model, f"{place}.claim": claim}
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._told = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="build-lease", daemon=True)
        self._thread.start()

    def line(self, line: str) -> None:
        """Take a line of the log; it is written with the next renewal."""
        if line.startswith(NOT_HELD):
            warn_once(line)
        self._lines.append(line.rstrip()[:LINE_CHARACTERS])
        self._told += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        renewed = time.monotonic()
        written = 0
        while not self._stop.wait(0.5):
            due = time.monotonic() - renewed > LEASE_SECONDS / 4
            if not due and written == self._told:
                continue
            written = self._told
            try:
                self._models.update_one(
                    self._seen,
                    [
                        {
                            "$set": {
                                f"{self._place}.lease": until(LEASE_SECONDS),
                                f"{self._place}.log": {"$literal": list(self._lines.copy())},
                            }
                        }
                    ],
                )
                renewed = time.monotonic()
            except PyMongoError as error:
                log.warning("the lease of a build could not be renewed: %s", error)


@cache
def warn_once(line: str) -> None:
    """In the server's own log, for this process once: every build's log has the line."""
    log.warning("%s", line)


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
    return [line[:LINE_CHARACTERS] for line in text.splitlines()[-LOG_LINES:]]
