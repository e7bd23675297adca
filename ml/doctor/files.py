"""The files in GridFS: whether those that versions need are whole, and which no document refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from ml.database.blobs import BUCKET
from ml.database.client import Document
from ml.doctor.findings import Finding, megabytes, named, ok, warning, wrong
from ml.doctor.models import Models

#: A file is stored before the document that refers to it; what is younger than this may be on its way.
YOUNG = timedelta(hours=1)
#: What a version was made from: to serve it they are not needed.
SOURCES = ("file", "sample")


def examine(db: Database[Document], models: Models) -> Iterator[Finding]:
    files, chunks = db[f"{BUCKET}.files"], db[f"{BUCKET}.chunks"]
    kept = {version["_id"] for version in models.kept()}
    whole = 0
    for versions in models.versions.values():
        for version in versions.values():
            if version["_id"] in kept or version["state"] == "loading":
                problems = list(_problems(version, files, chunks))
                yield from problems
                whole += not problems
    if whole:
        yield ok("model files", f"those of {whole} version{'s' * (whole != 1)} are whole")
    yield from _leftovers(db)


def _problems(version: Document, files: Any, chunks: Any) -> Iterator[Finding]:
    about = f"model {version['name']}:{version['version']}"
    found = dict(_references({name: value for name, value in version.items() if name != "_id"}))
    if version["state"] == "available" and not any("artefacts" in path for path in found):
        yield wrong(about, "it is available and has no artefact", _AGAIN)
    if version["state"] == "loading" and "file" not in found:
        yield wrong(about, "it is to be built and has no file", _AGAIN)
    for path, file in found.items():
        problem = _broken(file, files, chunks)
        if problem is None:
            continue
        found_text = f"its {path} in GridFS ({file}) {problem}"
        if path in SOURCES and version["state"] == "available":
            yield warning(about, f"{found_text}; it is served without", "restore it from a backup if it is wanted")
        else:
            yield wrong(about, found_text, _AGAIN)


_AGAIN = "restore the database from a backup, or register the file again and retire this version"


def _broken(file: ObjectId, files: Any, chunks: Any) -> str | None:
    """What is wrong with a file, by its length, the number of its chunks and the length of the last."""
    stored = files.find_one({"_id": file})
    if stored is None:
        return "is not there"
    length, size = stored.get("length"), stored.get("chunkSize")
    if not isinstance(length, int) or not isinstance(size, int) or size <= 0:
        return "has no length"
    wanted = -(-length // size)
    count = chunks.count_documents({"files_id": file})
    if count != wanted:
        return f"has {count} of {wanted} chunks"
    if not wanted:
        return None
    last = next(
        chunks.aggregate(
            [{"$match": {"files_id": file, "n": wanted - 1}}, {"$project": {"bytes": {"$binarySize": "$data"}}}]
        ),
        None,
    )
    if last is None or last["bytes"] != length - (wanted - 1) * size:
        return f"does not end where it should, at {length} bytes"
    return None


def _references(value: Any, path: str = "") -> Iterator[tuple[str, ObjectId]]:
    """Every ObjectId below `value`, with the fields that lead to it."""
    if isinstance(value, ObjectId):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _references(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _references(item, f"{path}.{number}")


def _leftovers(db: Database[Document]) -> Iterator[Finding]:
    """What a retirement or an upload that was cut short has left, in whatever state the version is."""
    about = "leftover files"
    # By their text: other programs may use what cannot be in a set.
    referred = {str(file) for document in db["models"].find({}, _REFERRING) for _, file in _references(document)}
    before = datetime.now(UTC) - YOUNG
    known: set[str] = set()
    left: dict[str, int] = {}
    for file in db[f"{BUCKET}.files"].find({}, {"length": 1, "uploadDate": 1}):
        number, made = str(file["_id"]), file.get("uploadDate")
        known.add(number)
        if number not in referred and not (isinstance(made, datetime) and made > before):
            left[number] = file["length"] if isinstance(file.get("length"), int) else 0
    chunks = db[f"{BUCKET}.chunks"]
    # Sorted and with this one field, it is read from the index and no chunk is.
    ids = chunks.aggregate(
        [{"$sort": {"files_id": 1}}, {"$project": {"_id": 0, "files_id": 1}}, {"$group": {"_id": "$files_id"}}]
    )
    for file in (entry["_id"] for entry in ids):
        # A file's own entry is written last and removed first.
        if str(file) in known or (isinstance(file, ObjectId) and file.generation_time > before):
            continue
        sizes = chunks.aggregate(
            [{"$match": {"files_id": file}}, {"$group": {"_id": None, "bytes": {"$sum": {"$bsonSize": "$$ROOT"}}}}]
        )
        left[str(file)] = sum(entry["bytes"] for entry in sizes)
    if not left:
        yield ok(about, "none")
        return
    yield warning(
        about,
        f"{len(left)} files of {megabytes(sum(left.values()))} belong to no version: {named(list(left))}",
        "they only take room; in mongosh, for each: db.getCollection('files.files').deleteOne({_id: ...}) and "
        "db.getCollection('files.chunks').deleteMany({files_id: ...})",
    )


#: All that may refer to a file, without what is long.
_REFERRING = {"_id": 0, "build.log": 0, "build.table": 0}
