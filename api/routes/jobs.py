"""Waiting for jobs: a GET that answers at the end, and a job's progress as Server-Sent Events."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from itertools import chain

from bson import ObjectId
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound

from api.auth.caller import current_caller
from api.data import SharedMongo
from api.errors import ApiError
from api.openapi.describe import Answer, Media, Operation, describes, ref
from api.preferences import seconds_to_wait
from api.query import Query
from api.render import dumps
from api.resources import RESOURCES
from api.resources.base import AUTOMATIC
from ml.database.client import READ_MS, Document
from ml.service import JOB_ENDED, Service, Watching

blueprint = Blueprint("jobs", __name__, url_prefix="/api/v1/jobs")

#: The longest that a GET is kept waiting, in seconds.
MOST_SECONDS = 60
#: Seconds between two events of a stream at least, and after which one that is silent says that it is alive.
BETWEEN_EVENTS = 0.25
KEEP_ALIVE = 15.0
#: Milliseconds after which a client whose stream was cut is to come again.
RETRY_MS = 2000

EVENT_STREAM = "text/event-stream"
#: An event has the job but for its list of rows, which may be long and never changes.
FIELDS = (*(name for name in RESOURCES["jobs"].schema if name != "inputs"), *AUTOMATIC)


def answer_when_ended(job_id: ObjectId, answer: Callable[[], Response]) -> Response:
    """The answer to a GET of a job: at once, or where it prefers to wait, when the job ended or that time has passed.

    It has the job as it is then. Raises Overloaded, at once, where too many wait already.
    """
    seconds = seconds_to_wait(MOST_SECONDS)
    if seconds is None:
        return answer()
    service = _service()
    job = _visible(job_id)
    if job is not None and job.get("status") not in JOB_ENDED:
        with service.watching.watch(job_id) as watch:
            watch.wait_for_end(seconds)
    response = answer()
    response.headers["Preference-Applied"] = f"wait={seconds}"
    return response


@blueprint.get("/<ObjectId:job_id>/events")
@describes(
    Operation(
        id="streamJobEvents",
        tag="jobs",
        summary="Watch a job",
        description="Server-Sent Events: the present state, then each that follows, up to four a second, until it has "
        "ended. `progress` and `ended` have the job as JSON, without its list `inputs`.",
        answers={
            200: Answer(
                "The stream.",
                {
                    EVENT_STREAM: Media(
                        {"type": "string", "description": "Events: `id`, `event` (progress or ended) and `data`."},
                        {"ended": 'retry: 2000\n\nid: 1d0a6e7a4dbb\nevent: ended\ndata: {"model":"iris"}\n\n'},
                        item=ref("Job"),
                    )
                },
                ("Cache-Control",),
            ),
            204: Answer("The job has ended, and `Last-Event-ID` is that of its end.", {}, ("Cache-Control",)),
        },
        headers=("Last-Event-ID",),
    )
)
def events(job_id: ObjectId) -> Response:
    """The job's present state, then each that follows, until it has ended; see docs/jobs.md."""
    if request.args:
        raise ApiError(400, "the query is not understood", dict.fromkeys(request.args, "events take no parameters"))
    data: SharedMongo = current_app.data  # type: ignore[attr-defined]
    job = _visible(job_id)
    if job is None:
        raise NotFound
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    last = request.headers.get("Last-Event-ID", "").encode()
    if job.get("status") in JOB_ENDED and last == _id_of(_shown(data, job)):
        # It has seen the end: only this answer keeps a browser from coming again.
        return Response(status=204, headers=headers)
    if request.method == "HEAD":
        return Response(headers=headers, mimetype=EVENT_STREAM)
    stream = _stream(_service().watching, job_id, lambda job: _shown(data, job))
    # What keeps it from beginning shows here, before the status is sent.
    response = Response(chain([next(stream)], stream), headers=headers, mimetype=EVENT_STREAM)
    response.call_on_close(stream.close)
    return response


def _stream(watching: Watching, job_id: ObjectId, shown: Callable[[Document], bytes]) -> Generator[bytes, None, None]:
    """The events. Outside of any request: a stream outlives the one that asked for it."""
    with watching.watch(job_id) as watch:
        yield b"retry: %d\n\n" % RETRY_MS
        sent, silent_until = b"", time.monotonic() + KEEP_ALIVE
        while (job := watch.job) is not None:
            data = shown(job)
            if data != sent:
                sent, silent_until = data, time.monotonic() + KEEP_ALIVE
                ended = job.get("status") in JOB_ENDED
                yield b"id: %s\nevent: %s\ndata: %s\n\n" % (_id_of(data), b"ended" if ended else b"progress", data)
                if ended:
                    return
                watching.pause(BETWEEN_EVENTS)
            elif not watch.wait(silent_until - time.monotonic()):
                silent_until = time.monotonic() + KEEP_ALIVE
                yield b": keep-alive\n\n"
            if watch.stopped:
                return


def _visible(job_id: ObjectId) -> Document | None:
    """The job, but for its list of rows, where it is the caller's to see."""
    spec = {"$and": [{"_id": job_id}, current_caller().scope("jobs")]}
    return _service().db["jobs"].find_one(spec, dict.fromkeys(FIELDS, True), max_time_ms=READ_MS)


def _shown(data: SharedMongo, job: Document) -> bytes:
    """A job as its owner sees it, as JSON of one line."""
    seen = {name: job[name] for name in FIELDS if name in job}
    (document,) = data.presented("jobs", [seen], Query(), short=False)
    return dumps(document).rstrip()


def _id_of(data: bytes) -> bytes:
    """The id of an event: the same state has the same, in every process."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()[:16].encode()


def _service() -> Service:
    service: Service = current_app.extensions["service"]
    return service
