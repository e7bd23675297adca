"""One entry of the audit, which is written with what it tells of, or not at all; never what a document holds."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bson import ObjectId
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database

from ml.database.client import Document
from ml.database.documents import stamp_new
from ml.database.transactions import transact

COLLECTION = "audit"
#: What may have been done.
ACTIONS = ("create", "change", "delete", "register", "retire", "rotate", "login", "logout", "refuse", "erase", "erased")
#: Ids of documents that an entry has; of more, these first ones, their count and the last.
MOST_IDS = 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a write before it is made: who asks for what, by which request, from where."""

    action: str
    resource: str | None
    #: `owner`, `role`, `via` and what of `key`, `id` and `user` there is.
    by: Mapping[str, Any]
    address: str | None = None
    request: str | None = None
    #: Of the answer.
    status: int | None = None
    #: Names of the fields that are changed.
    changed: tuple[str, ...] = ()

    def document(self, ids: Sequence[ObjectId], owner: str | None, count: int | None = None) -> Document:
        """The entry for a write to the documents with these ids, which are this owner's."""
        fields = {
            "action": self.action,
            "resource": self.resource,
            "by": dict(self.by),
            "address": self.address,
            "request": self.request,
            "status": self.status,
            "documents": list(ids[:MOST_IDS]) or None,
            "last": ids[-1] if len(ids) > MOST_IDS else None,
            "count": len(ids) if count is None else count,
            "changed": list(self.changed) or None,
        }
        return stamp_new({name: value for name, value in fields.items() if value is not None}, owner)

    def write(
        self,
        db: Database[Document],
        ids: Sequence[ObjectId],
        owner: str | None,
        session: ClientSession | None = None,
        count: int | None = None,
    ) -> None:
        """Add the entry; within a transaction it is there if that is committed."""
        db[COLLECTION].insert_one(self.document(ids, owner, count), session=session)


def recorded(db: Database[Document], entry: Entry | None, work: Callable[[ClientSession | None], T]) -> T:
    """Do a write that adds its entry itself, both or neither; without an entry there is no need of a transaction.

    `work` may be run again after a conflict. A database that is away is told after the time that finding one takes.
    """
    if entry is None or not isinstance(db.client, MongoClient):  # one in memory has no sessions
        return work(None)
    return transact(db.client, work, patient=False)


def owner_in(document: Mapping[str, Any]) -> str | None:
    """Whose a document is; another program may have written anything there."""
    owner = document.get("owner")
    return owner if isinstance(owner, str) else None


def by_command_line() -> dict[str, Any]:
    """Who uses the command line: the administrator, as this user of the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        user = str(os.getuid())
    return {"role": "admin", "via": "command line", "user": user}


def commanded(action: str, resource: str | None, changed: Sequence[str] = ()) -> Entry:
    """The entry of what is done by the command line."""
    return Entry(action, resource, by_command_line(), changed=tuple(changed))
