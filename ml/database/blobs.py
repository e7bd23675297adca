"""Files and directories in GridFS: uploaded models, and what was built from them."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

from bson import ObjectId
from gridfs import GridFSBucket
from gridfs.errors import NoFile
from pymongo.database import Database

from ml.database.client import Document

BUCKET = "files"


class Blobs:
    """The GridFS bucket `files` of a database."""

    def __init__(self, db: Database[Document]) -> None:
        self._bucket = GridFSBucket(db, BUCKET)

    def put(self, stream: IO[bytes], name: str, **metadata: Any) -> ObjectId:
        """Store a file; it is visible only when whole."""
        return self._bucket.upload_from_stream(name, stream, metadata=metadata)

    def put_directory(self, directory: Path, name: str, **metadata: Any) -> ObjectId:
        """Store a directory as one tar file."""
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(directory, arcname=".")
            archive.seek(0)
            return self.put(archive, name, **metadata)

    def fetch(self, blob: ObjectId, target: Path) -> None:
        """Write a stored file to `target`."""
        with target.open("wb") as stream:
            self._bucket.download_to_stream(blob, stream)

    def fetch_directory(self, blob: ObjectId, target: Path) -> None:
        """Unpack a stored directory at `target`, which appears only when it is whole."""
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
        try:
            with tempfile.TemporaryFile() as archive:
                self._bucket.download_to_stream(blob, archive)
                archive.seek(0)
                with tarfile.open(fileobj=archive) as tar:
                    unpack(tar, partial)
            try:
                partial.rename(target)
            except OSError:
                if not target.is_dir():  # another process was first, and its copy is as good
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def delete(self, blob: ObjectId | None) -> None:
        """Remove a stored file; one that is gone already is no error."""
        if blob is not None:
            try:
                self._bucket.delete(blob)
            except NoFile:
                return


def unpack(tar: tarfile.TarFile, directory: Path) -> None:
    """Unpack directories and plain files below `directory`; anything else in the archive is a TarError.

    TarFile.extractall(filter="data") does the same, from Python 3.11.4 on; Debian 12 has 3.11.2.
    """
    for member in tar:
        target = Path(os.path.normpath(directory / member.name))
        if not target.is_relative_to(directory) or not (member.isdir() or member.isfile()):
            raise tarfile.TarError(f"{member.name!r} is no plain file of the archive's own")
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with tar.extractfile(member) as source, target.open("wb") as file:  # type: ignore[union-attr]  # it is a file
            shutil.copyfileobj(source, file)
