"""What is written of models: new versions, their names' counters and aliases, retirement."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import IO, Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ml.audit.entries import Entry, owner_in, recorded
from ml.database.blobs import Blobs
from ml.database.client import READ_MS, Document
from ml.database.documents import etag_filter, stamp_new, stamp_update
from ml.database.transactions import transact
from ml.errors import Changed, Invalid, NotAllowed, WrongState

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
CHUNK = 1 << 20


class Catalog:
    """The collections `models` (one document a version) and `registry` (one document a name)."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._blobs = Blobs(db)

    def register(
        self,
        stream: IO[bytes],
        name: str,
        owner: str,
        *,
        admin: bool,
        classes: Sequence[str] | None = None,
        aliases: Sequence[str] = (),
        description: str | None = None,
        sample: IO[bytes] | None = None,
        entry: Entry | None = None,
    ) -> Document:
        """Store a .keras file as the next version of `name`; a build then makes it available.

        Raises Invalid for a name, class or alias that is none, NotAllowed where the name is another owner's.
        """
        issues = field_issues(name=name, classes=classes, aliases=aliases)
        if issues:
            raise Invalid("the model was not registered", issues)
        document: Document = {"_id": ObjectId(), "name": name, "state": "loading"}
        document["digest"], document["size"] = _measure(stream)
        if document["size"] == 0:
            raise Invalid("the model was not registered", {"file": "expected a .keras file, got an empty one"})
        if classes:
            document["classes"] = list(classes)
        if description:
            document["description"] = description
        document["version"] = self._next_version(name, owner, admin)
        document["file"] = self._blobs.put(stream, f"{name}.keras", model=document["_id"])
        if sample is not None:
            document["sample"] = self._blobs.put(sample, "sample.npy", model=document["_id"])
        document["aliases"] = []
        # Aliases move when the version can answer, not before.
        document["pending_aliases"] = list(aliases)
        stamp_new(document, owner)

        def work(session: ClientSession | None) -> None:
            self._db["models"].insert_one(document, session=session)
            if entry is not None:
                entry.write(self._db, [document["_id"]], owner, session)

        recorded(self._db, entry, work)
        return document

    def update(self, before: Mapping[str, Any], changes: dict[str, Any], entry: Entry | None = None) -> None:
        """Write a client's changes (aliases, classes, description) to the version that it saw as `before`.

        All of it happens in one transaction, aliases by one update of the name's document. Raises Changed, WrongState
        or Invalid.
        """
        changes = stamp_update(changes)
        issues = field_issues(**{key: changes[key] for key in ("classes", "aliases") if key in changes})
        if issues:
            raise Invalid("the model was not changed", issues)
        wanted = sorted(changes["aliases"]) if "aliases" in changes else None
        if wanted is not None:
            changes["aliases"] = wanted
        if wanted is not None and before["state"] == "loading":
            changes["pending_aliases"], wanted = changes.pop("aliases"), None
        if wanted and before["state"] != "available":
            raise WrongState(f"{before['name']}:{before['version']} is {before['state']}; an alias needs it available")

        def work(session: ClientSession) -> None:
            seen = {"_id": before["_id"], **etag_filter(before["_etag"])}
            if self._db["models"].update_one(seen, {"$set": changes}, session=session).matched_count == 0:
                raise Changed("the model was changed by another")
            moved = [] if wanted is None else self._point(before["name"], before["version"], wanted, session)
            if entry is not None:
                others = [id_ for id_ in moved if id_ != before["_id"]]
                entry.write(self._db, [before["_id"], *others], owner_in(before), session)

        transact(self._db.client, work, patient=False)

    def retire(self, before: Mapping[str, Any], entry: Entry | None = None) -> None:
        """Take a version out of service: its files and aliases go, its document stays. Raises Changed."""
        changes = stamp_update({"state": "retired", "aliases": []})

        def work(session: ClientSession) -> Document | None:
            seen = {"_id": before["_id"], **etag_filter(before["_etag"])}
            found = self._db["models"].find_one_and_update(
                seen, {"$set": changes, "$unset": {"pending_aliases": ""}}, session=session
            )
            if found is not None:
                self._point(found["name"], found["version"], [], session)
                if entry is not None:
                    entry.write(self._db, [found["_id"]], owner_in(found), session)
            return found

        found = transact(self._db.client, work, patient=False)
        if found is None:
            raise Changed("the model was changed by another")
        elsewhere = [blob for one in found.get("elsewhere", ()) for blob in one.get("artefacts", {}).values()]
        for blob in (found.get("file"), found.get("sample"), *found.get("artefacts", {}).values(), *elsewhere):
            self._blobs.delete(blob)

    def available(self, model: ObjectId, claim: str, facts: Mapping[str, Any]) -> bool:
        """Say what a build made of a version and move the aliases that waited for it; False where the claim is lost."""

        def work(session: ClientSession) -> bool:
            found = self._db["models"].find_one_and_update(
                {"_id": model, "state": "loading", "build.claim": claim},
                {"$set": stamp_update({**facts, "state": "available"}), "$unset": {"pending_aliases": ""}},
                session=session,
            )
            if found is None:
                return False
            if found.get("pending_aliases"):
                moved = self._point(found["name"], found["version"], found["pending_aliases"], session, keep=True)
                owner = owner_in(found)
                # Asked for when it was registered.
                built = Entry("change", "models", {"owner": owner, "via": "build"}, changed=("aliases",))
                built.write(self._db, [model, *(id_ for id_ in moved if id_ != model)], owner, session)
            return True

        return transact(self._db.client, work)

    def available_elsewhere(self, model: ObjectId, claim: str, made: Mapping[str, Any]) -> bool:
        """Add what a build for another processor made, or its `error`, to an available version; False as above."""
        found = self._db["models"].update_one(
            {"_id": model, "state": "available", "rebuild.claim": claim},
            {"$push": {"elsewhere": made}, "$unset": {"rebuild": ""}, "$set": stamp_update({})},
        )
        return found.matched_count == 1

    def _next_version(self, name: str, owner: str, admin: bool) -> int:
        who = {} if admin else {"owner": owner}
        try:
            entry = self._db["registry"].find_one_and_update(
                {"_id": name, **who},
                {"$inc": {"next_version": 1}, "$setOnInsert": {"aliases": {}, "owner": owner}}
                if admin
                else {"$inc": {"next_version": 1}, "$setOnInsert": {"aliases": {}}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            raise NotAllowed(f"the name {name!r} belongs to another owner") from None
        assert entry is not None
        number: int = entry["next_version"]
        return number

    def _point(
        self, name: str, version: int, aliases: Sequence[str], session: ClientSession, *, keep: bool = False
    ) -> list[ObjectId]:
        """Let exactly these aliases (with `keep`, these too) mean this version, and let each document say so.

        The ids of the documents that said something else before.
        """
        entry = self._db["registry"].find_one({"_id": name}, session=session, max_time_ms=READ_MS) or {}
        before: dict[str, int] = entry.get("aliases", {})
        after = {alias: number for alias, number in before.items() if keep or number != version}
        after.update(dict.fromkeys(aliases, version))
        self._db["registry"].update_one({"_id": name}, {"$set": {"aliases": after}}, session=session)
        moved = []
        for number in {*before.values(), *after.values(), version}:
            mine = sorted(alias for alias, target in after.items() if target == number)
            found = self._db["models"].find_one_and_update(
                {"name": name, "version": number, "aliases": {"$ne": mine}},
                {"$set": stamp_update({"aliases": mine})},
                {"_id": True},
                session=session,
            )
            if found is not None:
                moved.append(found["_id"])
        return moved


def field_issues(
    name: str | None = None, classes: Sequence[str] | None = None, aliases: Sequence[str] | None = None
) -> dict[str, str]:
    """What is wrong with a model's name, classes or aliases, by field."""
    issues = {}
    if name is not None and not NAME.match(name):
        issues["name"] = f"expected 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit, got {name!r}"
    if classes is not None and (
        len(set(classes)) != len(classes) or not all(isinstance(c, str) and 0 < len(c) <= 200 for c in classes)
    ):
        issues["classes"] = "expected different names of 1 to 200 characters"
    if aliases is not None and (
        len(set(aliases)) != len(aliases) or not all(isinstance(a, str) and NAME.match(a) for a in aliases)
    ):
        issues["aliases"] = "expected different names, each 1 to 64 of A-Z a-z 0-9 . _ -"
    return issues


def _measure(stream: IO[bytes]) -> tuple[str, int]:
    """The SHA-256 and size of a stream, which is rewound."""
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    stream.seek(0)
    return digest.hexdigest(), size
