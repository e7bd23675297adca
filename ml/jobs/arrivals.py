"""The inputs that arrive: one change stream in a process, read by all jobs that follow."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from ml.database.client import Document

log = logging.getLogger(__name__)

#: Milliseconds that the database may wait for an event once it is asked.
AWAIT_MS = 250
RETRY_SECONDS = 1.0
CLOSE_SECONDS = 5.0
#: Arrivals that are kept for a job which is slower than they come. One that falls behind reads the collection again.
MOST_KEPT = 50_000

Token = dict[str, Any]

#: What a predict stored is no arrival, for a job that does not ask for it.
_KINDS: Document = {"operationType": {"$in": ["insert", "update", "replace"]}}
_NOT_PREDICTED: Document = {"fullDocument.source": {"$ne": "predict"}}


class Behind(Exception):
    """What arrived since is not known any more: the job must look at the collection itself."""


@dataclass(slots=True, eq=False)
class Place:
    """One job's place among the arrivals."""

    #: Up to where it has taken them.
    token: Token
    #: Whether it wants what a predict stored, too.
    predicted: bool
    behind: bool = False
    #: Arrivals that it has not taken, by the place in the log.
    at: int = 0


@dataclass(slots=True)
class _Log:
    """What arrived since `start`, in order."""

    start: Token
    end: Token
    tokens: list[Token] = field(default_factory=list)
    ids: list[ObjectId] = field(default_factory=list)


def now_token(db: Database[Document]) -> Token:
    """A place in the stream that is now: all that is written from here on comes after it."""
    with db["inputs"].watch([], max_await_time_ms=1) as stream:
        token = stream.resume_token
    assert token is not None
    return dict(token)


class Arrivals:
    """Follows the collection while there are places. `changed` is called on its thread when there is something."""

    def __init__(self, db: Database[Document], changed: Callable[[], None]) -> None:
        self._db = db
        self._changed = changed
        self._lock = threading.Lock()
        self._log: _Log | None = None
        self._places: set[Place] = set()
        self._wanted = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self, token: Token, *, predicted: bool) -> Place:
        """Follow from a token on."""
        place = Place(token, predicted)
        with self._lock:
            known = self._log
            wider = predicted and not any(other.predicted for other in self._places)
            if known is None or wider or _order(token) < _order(known.start):
                # From the earliest place that any needs. Some arrivals come a second time then, which does no harm.
                start = min([token, *(other.token for other in self._places if not other.behind)], key=_order)
                self._log = _Log(start, start)
                for other in self._places:
                    other.at = 0
            else:
                place.at = bisect_right(known.tokens, _order(token), key=_order)
            self._places.add(place)
            self._wanted.set()
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._loop, name="arrivals", daemon=True)
                self._thread.start()
        return place

    def leave(self, place: Place) -> None:
        """Follow no more."""
        with self._lock:
            self._places.discard(place)
            if not self._places:
                self._wanted.clear()
                self._log = None

    def take(self, place: Place, most: int) -> tuple[list[ObjectId], Token]:
        """Up to so many arrivals that it has not taken, and the token up to where it has then. Raises Behind."""
        with self._lock:
            known = self._log
            if place.behind or known is None:
                raise Behind
            ids = known.ids[place.at : place.at + most]
            place.at += len(ids)
            place.token = known.tokens[place.at - 1] if place.at < len(known.ids) else known.end
            self._trim(known)
            return list(dict.fromkeys(ids)), place.token

    def waiting(self, place: Place) -> bool:
        """Whether there is something to take, or it is behind."""
        with self._lock:
            return place.behind or self._log is None or place.at < len(self._log.ids)

    def close(self) -> None:
        self._ended.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _trim(self, known: _Log) -> None:
        """Forget what all have taken."""
        taken = min((other.at for other in self._places if not other.behind), default=len(known.ids))
        if taken > 1000 or taken == len(known.ids):
            if taken:
                known.start = known.tokens[taken - 1]
            if taken == len(known.ids):
                known.start = known.end
            del known.tokens[:taken], known.ids[:taken]
            for other in self._places:
                other.at = max(0, other.at - taken)

    def _loop(self) -> None:
        while True:
            self._wanted.wait()
            if self._ended.is_set():
                return
            try:
                self._follow()
            except OperationFailure as error:
                # As a rule the log does not reach back to the token.
                self._lose(str(error))
            except PyMongoError as error:
                log.warning("the arrivals of inputs cannot be read now: %s", error)
                self._ended.wait(RETRY_SECONDS)
            except Exception as error:
                log.exception("following the inputs failed; it goes on")
                self._lose(str(error))

    def _follow(self) -> None:
        with self._lock:
            known = self._log
            if known is None:
                return
            everything = any(place.predicted for place in self._places)
            after = known.end
        pipeline: list[Document] = [
            {"$match": _KINDS if everything else {**_KINDS, **_NOT_PREDICTED}},
            {"$project": {"documentKey": True}},
        ]
        stream = self._db["inputs"].watch(pipeline, resume_after=after, max_await_time_ms=AWAIT_MS, batch_size=1000)
        with stream:
            while not self._ended.is_set():
                event = stream.try_next()
                if not self._note(known, event, stream.resume_token):
                    return
                if event is not None:
                    self._changed()

    def _note(self, known: _Log, event: Document | None, token: Any) -> bool:
        """Put down what came; False where the stream is to be opened anew, or is wanted by nobody."""
        with self._lock:
            if self._log is not known:
                return False
            if event is not None:
                known.tokens.append(dict(event["_id"]))
                known.ids.append(event["documentKey"]["_id"])
            if token is not None:
                known.end = dict(token)
            if len(known.ids) > MOST_KEPT:
                slowest = min(place.at for place in self._places if not place.behind)
                for place in self._places:
                    place.behind = place.behind or place.at == slowest
                self._trim(known)
            return True

    def _lose(self, why: str) -> None:
        log.warning("what arrived cannot be told any more, so the inputs are looked through again: %s", why)
        with self._lock:
            for place in self._places:
                place.behind = True
            self._log = None
            self._wanted.clear()
        self._changed()


def _order(token: Token) -> str:
    """Tokens are strings of hexadecimal digits made to be compared (MongoDB's manual, "Resume Tokens")."""
    return str(token["_data"])
