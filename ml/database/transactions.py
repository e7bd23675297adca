"""Several writes that happen together or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern

from ml.database.client import DURABLE, Document

log = logging.getLogger(__name__)

T = TypeVar("T")


def transact(
    client: MongoClient[Document],
    work: Callable[[ClientSession], T],
    session: ClientSession | None = None,
    *,
    patient: bool = True,
) -> T:
    """Run `work` in a majority-journaled transaction and give back what it returns.

    It is run again after a transient conflict, so it must do nothing but its writes. An exception from it undoes them.
    Without a `session` it has one of its own. A database that is away is tried for two minutes; where someone waits
    for the answer and it is not `patient`, once.
    """
    if session is None:
        with client.start_session() as own:
            return transact(client, work, own, patient=patient)

    def once(session: ClientSession) -> T:
        try:
            return work(session)
        except ServerSelectionTimeoutError as error:
            # Without the driver's label, by which it would begin again.
            raise ServerSelectionTimeoutError(str(error)) from error

    return session.with_transaction(
        work if patient else once, read_concern=ReadConcern("snapshot"), write_concern=DURABLE
    )


def end_sessions(db: Database[Document], sessions: Sequence[Document]) -> None:
    """End what is under way in these sessions (`session_id` of each), for example a transaction that a process left
    open when it died. One that lives finds its transaction gone, and may try again.
    """
    try:
        db.client.admin.command("killSessions", list(sessions))
    except PyMongoError as error:
        log.warning("open transactions must run out by themselves: %s", error)
