"""One MongoDB client per process: how it is made, and the database it is for."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient, WriteConcern
from pymongo.database import Database

#: Where the URI names no database.
DEFAULT_DATABASE = "almanac"

#: Accepted means durable: a write is answered when a majority has it in its journal.
DURABLE = WriteConcern(w="majority", j=True)

#: How long a read that a request waits for may keep the database busy, in milliseconds.
READ_MS = 15_000

Document = dict[str, Any]


def connect(uri: str, *, timeout_ms: int = 20_000, server_selection_ms: int = 5_000) -> MongoClient[Document]:
    """A client for `uri`, the only one its process makes; call it after any fork or spawn.

    `timeout_ms` bounds each exchange with the server, `server_selection_ms` how long one waits for a primary. Nothing
    is sent before the first operation. The driver's timeoutMS is not set: wire.py reads answers outside the operations
    that it bounds, and socketTimeoutMS is the one limit for both.
    """
    return MongoClient(
        uri,
        appname="almanac",
        tz_aware=True,
        # What other programs stored is read whatever it is: a UUID that is none, a date beyond year 9999, a string
        # that is not UTF-8.
        uuidRepresentation="unspecified",
        datetime_conversion="DATETIME_AUTO",
        unicode_decode_error_handler="replace",
        socketTimeoutMS=timeout_ms,
        connectTimeoutMS=server_selection_ms,
        serverSelectionTimeoutMS=server_selection_ms,
        connect=False,
    )


def database_of(client: MongoClient[Document]) -> Database[Document]:
    """The database that the client's URI names (else `almanac`), with durable writes."""
    return client.get_default_database(DEFAULT_DATABASE).with_options(write_concern=DURABLE)
