"""A prediction as Server-Sent Events: its output when it is there, why there is none, and that it is over."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from typing import Any

from flask import Response, request

from api.auth.caller import current_caller
from api.dialects.predicting import the_service
from api.dialects.replicate.addresses import url_of
from api.dialects.replicate.blueprint import blueprint
from api.dialects.replicate.described import STREAM
from api.dialects.replicate.query import only
from api.dialects.replicate.shown import found
from api.openapi.describe import describes
from api.render import dumps
from api.routes.jobs import EVENT_STREAM, KEEP_ALIVE, RETRY_MS
from ml.database.client import Document
from ml.service import JOB_ENDED, Watching


@blueprint.get("/v1/predictions/<prediction>/stream")
@describes(STREAM)
def stream(prediction: str) -> Response:
    """The events `output`, `error` and `done`, once the prediction has ended."""
    only()
    job = found(prediction)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if job.get("status") in JOB_ENDED and request.headers.get("Last-Event-ID") == f"{_end_of(job)}-done":
        # It has seen the end: only this answer keeps a browser from coming again.
        return Response(status=204, headers=headers)
    if request.method == "HEAD":
        return Response(headers=headers, mimetype=EVENT_STREAM)
    service, viewer, url = the_service(), current_caller().owner, url_of("")

    def ended() -> Iterator[bytes]:
        now = service.predictions.reload(job)
        if now is not None:  # it can be deleted
            yield from _events(service.predictions.shown([now], viewer, url)[0], _end_of(now))

    events = _stream(service.watching, job, ended)
    # What keeps it from beginning shows here, before the status is sent.
    response = Response(chain([next(events)], events), headers=headers, mimetype=EVENT_STREAM)
    response.call_on_close(events.close)
    return response


def _stream(watching: Watching, job: Document, ended: Callable[[], Iterator[bytes]]) -> Generator[bytes, None, None]:
    """The events. Outside of any request: a stream outlives the one that asked for it."""
    with watching.watch(job["_id"]) as watch:
        yield b"retry: %d\n\n" % RETRY_MS
        silent_until = time.monotonic() + KEEP_ALIVE
        while not watch.over:
            if not watch.wait(silent_until - time.monotonic()):
                silent_until = time.monotonic() + KEEP_ALIVE
                yield b": keep-alive\n\n"
        if not watch.stopped:
            yield from ended()


def _events(prediction: dict[str, Any], end: str) -> Iterator[bytes]:
    """Those of a prediction that has ended. A client that comes again gets all of them."""
    status, output = prediction["status"], prediction["output"]
    done: dict[str, str] = {}
    if status == "succeeded":
        text = output if isinstance(output, str) else dumps(output).decode().rstrip()
        yield _event(f"{end}-output", "output", text)
    elif status == "failed":
        done = {"reason": "error"}
        yield _event(f"{end}-error", "error", prediction["error"])
    else:
        done = {"reason": "canceled"}
    yield _event(f"{end}-done", "done", dumps(done).decode().rstrip())


def _event(id_: str, name: str, text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"id: {id_}\nevent: {name}\n{lines}\n".encode()


def _end_of(job: Document) -> str:
    """What the ids of the last events begin with: the same in every process."""
    return hashlib.sha1(str(job.get("_etag")).encode(), usedforsecurity=False).hexdigest()[:16]
