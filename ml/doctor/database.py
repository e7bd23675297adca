"""The database: whether it answers, is one that Almanac can use, and takes this user's writes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo import ReadPreference
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from ml.database.client import Document
from ml.database.embedded.binary import OLDEST
from ml.database.indexes import SHAPE_VERSION
from ml.doctor.findings import Finding, gist, guarded, ok, warning, wrong

#: How long a majority may take to write one small document.
WRITE_SECONDS = 10.0
#: Leases go by the database's clock, and what people read in documents by this machine's.
CLOCK_SECONDS = 5.0

_AUTHENTICATION_FAILED = 18
ABOUT = "database"


def examine(db: Database[Document]) -> Generator[Finding, None, bool]:
    """Returns whether the documents can be looked at."""
    try:
        # Any member will do: that there is no primary is something to tell.
        any_member = ReadPreference.PRIMARY_PREFERRED
        build = db.client.admin.command("buildInfo", read_preference=any_member)
        # Timed once the connection is there.
        before, began = datetime.now(UTC), time.monotonic()
        hello = db.client.admin.command("hello", read_preference=any_member, codec_options=db.codec_options)
        took = time.monotonic() - began
    except PyMongoError as error:
        yield unreachable(error)
        return False
    yield ok(ABOUT, f"{db.name!r} answers in {took * 1000:.0f} ms")
    yield _version(build)
    yield _kind(hello)
    yield from guarded("clock", _clock(hello, before, took))
    if not (hello.get("isWritablePrimary") or hello.get("ismaster")):
        yield wrong(
            ABOUT,
            "there is no primary, so nothing can be written; the documents were not looked at",
            "see rs.status() in mongosh: a majority of the members must be up and reach each other; a URI with "
            "directConnection=true must name the primary",
        )
        return False
    yield from guarded("document shape", shape(db))
    yield from guarded("reading and writing", _writes(db))
    return True


def unreachable(error: PyMongoError) -> Finding:
    """Why nothing can be asked of the database, and what to do."""
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        return wrong(
            ABOUT,
            f"it answers and does not let this user in: {gist(error)}",
            "check user, password and authSource in ALMANAC_MONGO_URI",
        )
    return wrong(
        ABOUT,
        f"it cannot be reached: {gist(error)}; its documents were not looked at",
        "see that MongoDB runs and that host, port, replicaSet and tls in ALMANAC_MONGO_URI are right",
    )


def _version(build: dict[str, Any]) -> Finding:
    about, text = "database version", str(build.get("version"))
    numbers = tuple(number for number in build.get("versionArray", ()) if isinstance(number, int))
    if numbers < OLDEST[:2]:
        return wrong(about, text, f"upgrade MongoDB: Almanac needs {OLDEST.major}.{OLDEST.minor} or newer")
    return ok(about, text)


def _kind(hello: dict[str, Any]) -> Finding:
    about = "replica set"
    if hello.get("setName"):
        hosts = hello.get("hosts", [])
        return ok(about, f"{hello['setName']}, {len(hosts)} member{'s' * (len(hosts) != 1)}")
    if hello.get("msg") == "isdbgrid":
        return ok(about, "a sharded cluster")
    if hello.get("isreplicaset"):
        return wrong(about, "it was never initiated", "run rs.initiate() in mongosh once; one member is enough")
    return wrong(
        about,
        "it is a standalone server, which has neither transactions nor change streams",
        "start mongod with --replSet rs0 and run rs.initiate() in mongosh once; one member is enough",
    )


def _clock(hello: dict[str, Any], before: datetime, took: float) -> Iterator[Finding]:
    away = (hello["localTime"] - before).total_seconds() - took / 2
    found = f"the database's is {abs(away):.1f} s {'ahead of' if away > 0 else 'behind'} this machine's"
    if abs(away) > CLOCK_SECONDS:
        yield warning("clock", found, "let both machines keep time by NTP (chrony, systemd-timesyncd)")
    else:
        yield ok("clock", found)


def shape(db: Database[Document]) -> Iterator[Finding]:
    """Which documents the database holds, by what the Almanac that prepared it wrote down."""
    about = "document shape"
    stored = db["meta"].find_one({"_id": "shape"})
    version = stored.get("version") if stored is not None else None
    if stored is None:
        yield wrong(
            about,
            f"no Almanac has prepared the database {db.name!r} yet",
            "start the server once; or name the right database in ALMANAC_MONGO_URI",
        )
    elif not isinstance(version, int):
        yield wrong(
            about,
            f"the document 'shape' of the collection meta says {version!r}",
            f"set its version to that of the Almanac that wrote the database (this one's is {SHAPE_VERSION})",
        )
    elif version > SHAPE_VERSION:
        yield wrong(
            about,
            f"{version}, and this Almanac knows shapes up to {SHAPE_VERSION}",
            "start the newer Almanac, or restore a backup made by this one",
        )
    else:
        yield ok(about, str(version))


def _writes(db: Database[Document]) -> Iterator[Finding]:
    """A durable write of a document that is removed again; its collection is not made for that."""
    about = "reading and writing"
    if not db.list_collection_names(filter={"name": "meta"}):
        yield warning(about, "not tried, as there is no collection for it yet", "start the server once")
        return
    scratch = {"_id": f"doctor-{secrets.token_hex(8)}"}
    with pymongo.timeout(WRITE_SECONDS):
        try:
            began = time.monotonic()
            db["meta"].insert_one({**scratch, "made": datetime.now(UTC)})
            took = time.monotonic() - began
            found = db["meta"].find_one(scratch)
        finally:
            db["meta"].delete_one(scratch)
    if found is None:
        yield wrong(about, "a document that was just written is not there", "see that the URI reads from the primary")
    else:
        yield ok(about, f"a majority had a document in its journal after {took * 1000:.1f} ms")
