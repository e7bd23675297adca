"""Files as Replicate's clients upload them, to name them in predictions: `/v1/files/...`. They go after a day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bson import ObjectId
from flask import request
from werkzeug.exceptions import NotFound

from api.audit import entry_for
from api.auth.caller import current_caller
from api.dialects.predicting import the_service
from api.dialects.replicate.addresses import path_in, url_of
from api.dialects.replicate.blueprint import NAME, blueprint
from api.dialects.replicate.file_form import FORM, read_form
from api.dialects.replicate.files_described import FILES_PAGE, ONE, UPLOAD
from api.dialects.replicate.paging import CURSOR, PAGE, asked_cursor, not_a_cursor, page
from api.dialects.replicate.query import only
from api.errors import ApiError
from api.openapi.describe import BINARY, JSON, Answer, Body, Media, Operation, describes
from api.render import loads
from api.render import time as shown_time
from api.resources.base import ALL, USERS, Roles
from api.responses import AlmanacResponse, json_answer

FILES = "/v1/files"

PERMISSIONS: Mapping[tuple[str, str], Roles] = {
    (f"{NAME}.create_file", "POST"): USERS,
    (f"{NAME}.list_files", "GET"): ALL,
    (f"{NAME}.get_file", "GET"): ALL,
    (f"{NAME}.delete_file", "DELETE"): USERS,
    (f"{NAME}.download_file", "GET"): ALL,
}

_FILE_PATH = re.compile(rf"{FILES}/([^/]*)(?:/download)?")


@blueprint.get(FILES)
@describes(
    Operation(
        id="replicateListFiles",
        tag=NAME,
        summary="List the files",
        answers={200: Answer(f"Up to {PAGE} of those that the caller may see, the newest first.", {JSON: FILES_PAGE})},
        query=(CURSOR,),
    )
)
def list_files() -> AlmanacResponse:
    """The caller's files, the newest first."""
    cursor = asked_cursor()
    if cursor is not None and not ObjectId.is_valid(cursor.place):
        raise not_a_cursor(str(cursor))
    place = {} if cursor is None else {"after" if cursor.back else "before": ObjectId(cursor.place)}
    found = the_service().uploads.newest(current_caller().scope("files"), PAGE + 1, **place)
    made = page(cursor, found, lambda file: str(file["_id"]), lambda files: [shown(file) for file in files])
    return json_answer(made)


@blueprint.post(FILES)
@describes(
    Operation(
        id="replicateCreateFile",
        tag=NAME,
        summary="Upload a file",
        description="To name it in a prediction's input, by its URL, as the client does by itself where an input is a "
        "file. It is the caller's, and gone after 24 hours.",
        body=Body({FORM: Media(UPLOAD, encoding={"content": {"contentType": "*/*"}})}),
        answers={201: ONE},
        errors={415: "", 422: ""},
    )
)
def create_file() -> AlmanacResponse:
    """Store a file; 201 with what is known of it."""
    only()
    if request.mimetype != FORM:
        came = request.headers.get("Content-Type") or "none"
        raise ApiError(415, f"expected Content-Type {FORM}, got {came[:100]}")
    content, fields = read_form()
    file = the_service().uploads.put(
        content.stream, owner=current_caller().owner, entry=entry_for("create", "files", 201), **fields
    )
    return json_answer(shown(file), 201)


@blueprint.get(f"{FILES}/<ObjectId:file_id>")
@describes(Operation(id="replicateGetFile", tag=NAME, summary="Read what is known of a file", answers={200: ONE}))
def get_file(file_id: ObjectId) -> AlmanacResponse:
    """What is known of a file."""
    only()
    return json_answer(shown(_found(file_id)))


@blueprint.get(f"{FILES}/<ObjectId:file_id>/download")
@describes(
    Operation(
        id="replicateDownloadFile",
        tag=NAME,
        summary="Get a file's content",
        answers={200: Answer("The content, of the file's own type.", {"*/*": Media(BINARY)}, ("Content-Disposition",))},
    )
)
def download_file(file_id: ObjectId) -> AlmanacResponse:
    """A file's content, to be kept and not shown: of whatever type it says to be, it is not this site's."""
    only()
    file = _found(file_id)
    parts = the_service().uploads.parts(file)
    if parts is None:
        raise NotFound
    answer = AlmanacResponse(parts, content_type=file["contentType"])
    answer.content_length = file["length"]
    # RFC 6266: the one form that has every name whole, and nothing in it that could be taken for more.
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(file['filename'], safe='')}"
    return answer


@blueprint.delete(f"{FILES}/<ObjectId:file_id>")
@describes(Operation(id="replicateDeleteFile", tag=NAME, summary="Delete a file", answers={204: Answer("It is gone.")}))
def delete_file(file_id: ObjectId) -> AlmanacResponse:
    """Remove a file; what was made of it stays."""
    only()
    entry = entry_for("delete", "files", 204)
    if not the_service().uploads.delete(file_id, current_caller().scope("files"), entry):
        raise NotFound
    return AlmanacResponse(status=204)


def read(url: str) -> tuple[bytes, str] | None:
    """The content and its type of the file that a URL names; None where the URL is not one of our files'.

    Raises a 422 where there is no such file that the caller may see, or none any more.
    """
    path = path_in(url)
    named_by = None if path is None else _FILE_PATH.fullmatch(path)
    if named_by is None:
        return None
    file = content = None
    if ObjectId.is_valid(named_by[1]):
        file = the_service().uploads.find(ObjectId(named_by[1]), current_caller().scope("files"))
        content = None if file is None else the_service().uploads.content(file)
    if file is None or content is None:
        raise ApiError(422, f"there is no file {named_by[1][:100]!r}: it was deleted, or has expired, or never was")
    return content, file["contentType"]


def shown(file: Mapping[str, Any]) -> dict[str, Any]:
    """A stored file as Replicate's clients want it."""
    place = f"{FILES}/{file['_id']}"
    return {
        "id": str(file["_id"]),
        "name": file["filename"],
        "content_type": file["contentType"],
        "size": file["length"],
        "etag": file["sha256"],
        "checksums": {"sha256": file["sha256"]},
        "metadata": loads(file["given"]),
        "created_at": shown_time(file["_created"]),
        "expires_at": shown_time(file["expires"]),
        "urls": {"get": url_of(place), "download": url_of(f"{place}/download")},
    }


def _found(file_id: ObjectId) -> Mapping[str, Any]:
    file = the_service().uploads.find(file_id, current_caller().scope("files"))
    if file is None:
        raise NotFound
    return file
