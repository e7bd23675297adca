"""Files that clients store for a day, to name them in what they ask: a GridFS bucket of their own.

A file's chunks are written first and its document last, so it is there whole or not at all. Both say whose they are and
when they go, and MongoDB removes them by itself: also the chunks of an upload that was never finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import IO, Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.audit.entries import Entry, owner_in, recorded
from ml.database.client import READ_MS, Document
from ml.database.documents import now, stamp_new

FILES, CHUNKS = "uploads.files", "uploads.chunks"

#: For how long a file is there. Its chunks stay a little longer, for who reads it then.
KEPT = timedelta(hours=24)
LINGER = timedelta(hours=1)

#: Bytes of a chunk, as GridFS has them by default; chunks that are written, or read, at once.
CHUNK_BYTES = 255 * 1024
AT_ONCE = 16


class Uploads:
    """The GridFS bucket `uploads` of a database. A file that has expired is not there, though it may be stored yet."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db

    def put(
        self,
        stream: IO[bytes],
        *,
        owner: str,
        name: str,
        content_type: str,
        given: str = "{}",
        entry: Entry | None = None,
    ) -> Document:
        """Store a file and give its document back; `given` is what a client says of it, as JSON."""
        at = now()
        document: Document = {"_id": ObjectId(), "filename": name, "contentType": content_type, "given": given}
        document |= {"chunkSize": CHUNK_BYTES, "uploadDate": at, "expires": at + KEPT}
        stamp_new(document, owner, at)
        try:
            document["length"], document["sha256"] = self._write(stream, document["_id"], owner, at)
        except BaseException:
            self._remove_chunks(document["_id"])
            raise

        def work(session: ClientSession | None) -> None:
            self._db[FILES].insert_one(document, session=session)
            if entry is not None:
                entry.write(self._db, [document["_id"]], owner, session)

        # Where this fails it may have been done nevertheless: the chunks stay until they expire.
        recorded(self._db, entry, work)
        return document

    def find(self, id_: ObjectId, scope: Mapping[str, Any]) -> Document | None:
        """The document of a file within a scope; None where there is none, or none any more."""
        return self._db[FILES].find_one({"$and": [{"_id": id_}, _there(scope)]}, max_time_ms=READ_MS)

    def newest(
        self, scope: Mapping[str, Any], count: int, *, before: ObjectId | None = None, after: ObjectId | None = None
    ) -> list[Document]:
        """The documents of so many files within a scope, the newest first; those just before or after an id."""
        place = {"$lt": before} if before is not None else {"$gt": after} if after is not None else None
        match = {"$and": [_there(scope), {"_id": place} if place else {}]}
        found = self._db[FILES].find(match, max_time_ms=READ_MS).sort("_id", 1 if after is not None else -1)
        documents = list(found.limit(count))
        return documents[::-1] if after is not None else documents

    def parts(self, file: Mapping[str, Any]) -> Iterator[bytes] | None:
        """The content of a file that was found, part by part; None where it went meanwhile.

        Should it go while it is read, the last part is not given: EOFError.
        """
        wanted = -(-file["length"] // file["chunkSize"])
        if self._db[CHUNKS].count_documents({"files_id": file["_id"]}, maxTimeMS=READ_MS) != wanted:
            return None
        return self._parts(file)

    def content(self, file: Mapping[str, Any]) -> bytes | None:
        """The same at once."""
        try:
            parts = self.parts(file)
            return None if parts is None else b"".join(parts)
        except EOFError:
            return None

    def delete(self, id_: ObjectId, scope: Mapping[str, Any], entry: Entry | None = None) -> bool:
        """Remove a file within a scope; False where there is none."""

        def work(session: ClientSession | None) -> bool:
            found = self._db[FILES].find_one_and_delete({"$and": [{"_id": id_}, _there(scope)]}, session=session)
            if found is not None and entry is not None:
                entry.write(self._db, [id_], owner_in(found), session)
            return found is not None

        if not recorded(self._db, entry, work):
            return False
        self._remove_chunks(id_)
        return True

    def _write(self, stream: IO[bytes], file: ObjectId, owner: str, at: datetime) -> tuple[int, str]:
        """Store the chunks of a stream; its length and SHA-256."""
        digest, length, number = hashlib.sha256(), 0, 0
        common = {"files_id": file, "owner": owner, "_created": at, "expires": at + KEPT + LINGER}
        while data := stream.read(CHUNK_BYTES * AT_ONCE):
            digest.update(data)
            length += len(data)
            pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
            self._db[CHUNKS].insert_many(
                [{**common, "n": n, "data": piece} for n, piece in enumerate(pieces, number)], ordered=False
            )
            number += len(pieces)
        return length, digest.hexdigest()

    def _remove_chunks(self, file: ObjectId) -> None:
        with suppress(PyMongoError):  # they go in time
            self._db[CHUNKS].delete_many({"files_id": file})

    def _parts(self, file: Mapping[str, Any]) -> Iterator[bytes]:
        left = file["length"]
        match = {"files_id": file["_id"]}
        found = self._db[CHUNKS].find(match, {"data": True}, batch_size=AT_ONCE, max_time_ms=READ_MS)
        with found.sort("n", 1) as chunks:
            for chunk in chunks:
                left -= len(chunk["data"])
                yield chunk["data"]
        if left:
            raise EOFError(f"the file {file['_id']} went while it was read: {left} bytes are missing")


def _there(scope: Mapping[str, Any]) -> dict[str, Any]:
    return {**scope, "expires": {"$gt": now()}}
