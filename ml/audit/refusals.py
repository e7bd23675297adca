"""Requests that were refused: counted in memory, and written by a thread, so that to be refused costs nothing.

Who is refused can choose how often, so everything is bounded: entries in a minute, what waits in memory, the time for
which they are kept. What is beyond that is counted, and the count is written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.audit.entries import COLLECTION, Entry
from ml.database.client import Document
from ml.database.documents import identity, now

log = logging.getLogger(__name__)

#: Seconds between two writings, and for which those of one kind are one entry.
PERIOD = 1.0
WINDOW_SECONDS = 60.0
#: Kinds within a window: as many of those whose key is known, as of strangers, who are not to crowd them out.
MOST_KINDS = 50
#: Days after which an entry goes.
KEPT_DAYS = 30
#: Seconds that the database has for an answer.
ANSWER_SECONDS = 2.0
#: The action of entries for what was beyond MOST_KINDS.
DROPPED = "refused, and not written down one by one"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was refused. Those that are alike in `kind` are one entry, which tells of the first."""

    status: int
    #: As `network_of` has it.
    address: str
    by: Mapping[str, Any]
    request: str
    #: Method and rule of the route; None where there is none.
    target: str | None = None
    #: The name that a log-in was tried with: it is written where there is such a user, since people type passwords
    #: into the field for names.
    name: str | None = None

    @property
    def kind(self) -> tuple[Any, ...]:
        return self.status, self.address, self.by.get("owner"), self.by.get("key"), self.by["via"], self.name


@dataclass(slots=True)
class _Counted:
    first: Refusal
    since: datetime = field(default_factory=now)
    count: int = 0
    #: Monotonic: when it is written, and until when it has its place.
    due: float = 0.0


class Refusals:
    """The refusals of one process."""

    def __init__(self, db: Database[Document], window: float = WINDOW_SECONDS, period: float = PERIOD) -> None:
        self._db = db
        self._window = window
        self._period = period
        self._lock = threading.Lock()
        self._kinds: dict[tuple[Any, ...], _Counted] = {}
        #: Of those whose key is known, and of strangers.
        self._places = {True: 0, False: 0}
        self._dropped = _Counted(Refusal(0, "", {"via": DROPPED}, ""))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, refusal: Refusal) -> None:
        """Count a refusal. It takes microseconds, and never waits for the database."""
        known = "owner" in refusal.by
        with self._lock:
            counted = self._kinds.get(refusal.kind)
            if counted is None:
                if self._places[known] < MOST_KINDS:
                    self._places[known] += 1
                    counted = self._kinds[refusal.kind] = _Counted(refusal)
                else:
                    counted = self._dropped
            if not counted.count:
                counted.since = now()
                if counted is not self._dropped:
                    counted.first = refusal
            counted.count += 1
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._loop, name="refusals", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Write what is left."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(ANSWER_SECONDS * 2)

    def _loop(self) -> None:
        away = False
        while True:
            stopped = self._stop.wait(self._period)
            due = self._due(everything=stopped)
            try:
                self._write(due)
                away = False
            except PyMongoError as error:
                self._put_back(due)
                if not away:
                    log.warning("refused requests are counted, and cannot be written down: %s", error)
                away = True
            except Exception:
                log.exception("writing down refused requests failed; it goes on")
            if stopped:
                return

    def _due(self, *, everything: bool) -> list[tuple[Refusal, datetime, int]]:
        """What is to be written: of each kind the first at once, and what came after it when the window ends."""
        at = time.monotonic()
        due = []
        with self._lock:
            for kind, counted in [*self._kinds.items(), (None, self._dropped)]:
                if at < counted.due and not everything:
                    continue
                if counted.count:
                    due.append((counted.first, counted.since, counted.count))
                    counted.count, counted.due = 0, at + self._window
                elif kind is not None:
                    del self._kinds[kind]
                    self._places["owner" in counted.first.by] -= 1
        return due

    def _put_back(self, due: Sequence[tuple[Refusal, datetime, int]]) -> None:
        with self._lock:
            for first, since, count in due:
                counted = self._dropped if first is self._dropped.first else self._kinds.get(first.kind)
                if counted is not None:
                    counted.first, counted.since, counted.count, counted.due = first, since, counted.count + count, 0.0

    def _write(self, due: Sequence[tuple[Refusal, datetime, int]]) -> None:
        if not due:
            return
        with pymongo.timeout(ANSWER_SECONDS):
            owners = {str(first.by["owner"]) for first, _, _ in due if "owner" in first.by}
            erased = self._erased(owners)
            users = self._users({first.name for first, _, _ in due if first.name is not None})
            self._db[COLLECTION].insert_many(
                [_document(first, since, count, erased, users) for first, since, count in due], ordered=False
            )

    def _erased(self, owners: set[str]) -> set[str]:
        """Those of these owners who were erased not long ago: what was counted before tells of them no more."""
        ids = {erased_id(owner): owner for owner in owners}
        found = self._db["erased"].find({"_id": {"$in": list(ids)}}, {"_id": True}) if ids else ()
        return {ids[document["_id"]] for document in found}

    def _users(self, names: set[str]) -> set[str]:
        found = self._db["users"].find({"name": {"$in": list(names)}}, {"name": True}) if names else ()
        return {document["name"] for document in found}


def erased_id(owner: str) -> Any:
    """The `_id` in `erased` of an owner who was erased: it does not name the owner."""
    return identity("owner", owner)


def _document(first: Refusal, since: datetime, count: int, erased: set[str], users: set[str]) -> Document:
    if first.by.get("owner") in erased:
        first = Refusal(first.status, first.address, {"via": first.by["via"], "owner": "erased"}, "", first.target)
    entry = Entry("refuse", None, first.by, first.address or None, first.request or None, first.status or None)
    document = entry.document([], first.name if first.name in users else None, count)
    if first.target is not None:
        document["target"] = first.target
    if since < document["_created"]:
        document["since"] = since
    document["expires"] = document["_created"] + timedelta(days=KEPT_DAYS)
    return document
