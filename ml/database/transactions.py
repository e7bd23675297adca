"""Several writes that happen together or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.read_concern import ReadConcern

from ml.database.client import DURABLE, Document

T = TypeVar("T")


def transact(
    client: MongoClient[Document], work: Callable[[ClientSession], T], session: ClientSession | None = None
) -> T:
    """Run `work` in a majority-journaled transaction and give back what it returns.

    It is run again after a transient conflict, so it must do nothing but its writes. An exception from it undoes them.
    Without a `session` it has one of its own.
    """
    if session is None:
        with client.start_session() as own:
            return transact(client, work, own)
    return session.with_transaction(work, read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
