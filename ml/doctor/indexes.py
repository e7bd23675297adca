"""Whether the database has what every start of a server makes: indexes, and the validator on `inputs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymongo import IndexModel
from pymongo.database import Database
from pymongo.errors import OperationFailure

from ml.database.client import Document
from ml.database.indexes import INDEXES, INPUTS_VALIDATOR
from ml.doctor.findings import Finding, ok, wrong

START = "start the server once: it makes what is missing"
_NAMESPACE_NOT_FOUND = 26
#: What the server adds to an index's own options.
_NO_OPTION = ("v", "key", "name", "ns", "background", "buildUUID")


def examine(db: Database[Document]) -> Iterator[Finding]:
    for name, wanted in INDEXES.items():
        problems = list(differences(name, wanted, _present(db, name)))
        yield from problems
        if not problems:
            yield ok(f"indexes of {name}", f"all {len(wanted)} are there")
    yield _validator(db)


def differences(
    collection: str, wanted: Sequence[IndexModel], present: Sequence[Mapping[str, Any]]
) -> Iterator[Finding]:
    """What is not as it is made, by what listIndexes says is present."""
    about = f"indexes of {collection}"
    by_name = {str(index.get("name")): index for index in present}
    missing = []
    for model in wanted:
        name = model.document["name"]
        found = by_name.get(name)
        if found is None:
            other = next((str(index["name"]) for index in present if _key(index) == _key(model.document)), None)
            if other is None:
                missing.append(name)
            else:
                yield wrong(
                    about,
                    f"{name} is there by the name {other}, and so the start of a server fails",
                    f"drop the index {other} of {collection}, then {START}",
                )
        elif "buildUUID" in found:
            yield wrong(
                about,
                f"{name} is not finished",
                "wait for it (db.currentOp() in mongosh shows how far it is); after a crash it goes on by itself",
            )
        elif _key(found) != _key(model.document) or _options(found) != _options(model.document):
            yield wrong(
                about,
                f"{name} is another than it should be: {_shown(found)} instead of {_shown(model.document)}",
                f"drop it (db.{collection}.dropIndex({name!r}) in mongosh), then {START}",
            )
    if missing:
        yield wrong(about, f"missing: {', '.join(missing)}", START)


def _present(db: Database[Document], collection: str) -> list[Document]:
    """As listIndexes has them; those that are not finished say so only where one asks."""
    try:
        found = db.command("listIndexes", collection, includeBuildUUIDs=True, cursor={"batchSize": 1000})
    except OperationFailure as error:
        if error.code == _NAMESPACE_NOT_FOUND:
            return []
        return [dict(index) for index in db[collection].list_indexes()]
    return [{**entry.get("spec", entry), **_build(entry)} for entry in found["cursor"]["firstBatch"]]


def _build(entry: Mapping[str, Any]) -> Document:
    return {"buildUUID": entry["buildUUID"]} if "buildUUID" in entry else {}


def _key(index: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(index.get("key", {}).items())


def _options(index: Mapping[str, Any]) -> Document:
    return {name: value for name, value in index.items() if name not in _NO_OPTION and value is not False}


def _shown(index: Mapping[str, Any]) -> str:
    return " ".join(str(part) for part in (dict(_key(index)), _options(index) or "") if part)


def _validator(db: Database[Document]) -> Finding:
    about = "validator on inputs"
    found = next(iter(db.list_collections(filter={"name": "inputs"})), None)
    if found is None:
        return wrong(about, "the collection inputs is not there", START)
    validator = found.get("options", {}).get("validator")
    if not validator:
        return wrong(
            about,
            "missing, so that other programs can store what can never be scored",
            f"{START}; where its user may not, run db.runCommand({{collMod: 'inputs', validator: "
            f"{INPUTS_VALIDATOR}}}) as an administrator",
        )
    if validator != INPUTS_VALIDATOR:
        return wrong(about, f"another than it should be: {validator}", f"set it with collMod to {INPUTS_VALIDATOR}")
    return ok(about, "it is there")
