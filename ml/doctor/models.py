"""The versions of models: which there are, what keeps them from answering, and what builds left undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from ml import processor
from ml.database.client import Document
from ml.doctor.executors import Here
from ml.doctor.findings import Finding, named, ok, warning, wrong
from ml.executors.base import ExecutorError
from ml.versions import TYPES
from ml.ways import NotBuiltHere, ways_here

STATES = ("loading", "available", "failed", "retired")
#: How long a version may wait without a lease: builders look for work twice a second.
WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Models:
    """The documents that are versions, by name and number, and the aliases that mean some of them."""

    versions: Mapping[str, Mapping[int, Document]]
    aliases: Mapping[str, Mapping[str, Any]]
    next_versions: Mapping[str, Any]
    #: The `_id` of what is in the collections and is no version, or no entry of a name.
    mangled: tuple[Any, ...]

    def kept(self) -> Iterator[Document]:
        """The available versions that replicas keep loaded: those with an alias, and each name's newest."""
        for name, versions in self.versions.items():
            available = [number for number, one in versions.items() if one["state"] == "available"]
            wanted = {target for target in self.aliases.get(name, {}).values() if isinstance(target, int)}
            for number in available:
                if number == max(available) or number in wanted:
                    yield versions[number]


def read(db: Database[Document]) -> Models:
    """The collections without what is long in them; whatever other programs stored there."""
    versions: dict[str, dict[int, Document]] = {}
    mangled: list[Any] = []
    for document in db["models"].find({}, {"build.log": 0, "build.table": 0}):
        whole = all(isinstance(document.get(field), kind) for field, kind in TYPES.items())
        if not whole or document["state"] not in STATES:
            mangled.append(document["_id"])
        else:
            versions.setdefault(document["name"], {})[document["version"]] = document
    aliases: dict[str, Mapping[str, Any]] = {}
    next_versions: dict[str, Any] = {}
    for entry in db["registry"].find():
        targets = entry.get("aliases", {})
        if not isinstance(entry["_id"], str) or not isinstance(targets, dict):
            mangled.append(entry["_id"])
        else:
            aliases[entry["_id"]] = targets
            next_versions[entry["_id"]] = entry.get("next_version")
    return Models(versions, aliases, next_versions, tuple(mangled))


def examine(db: Database[Document], models: Models, here: Here) -> Iterator[Finding]:
    if models.mangled:
        yield warning(
            "models",
            f"{len(models.mangled)} documents in models or registry are none of Almanac's: {named(models.mangled)}",
            "delete them if no program of yours wants them there; Almanac passes over them",
        )
    for name in sorted(models.versions):
        yield from _of_name(name, models.versions[name], models.next_versions.get(name))
    for name in sorted(models.aliases):
        yield from _aliases(name, models.aliases[name], models.versions.get(name, {}))
    for version in models.kept():
        yield from _executor(version, here)
    yield from _undone(db, here)


def _of_name(name: str, versions: Mapping[int, Document], counter: Any) -> Iterator[Finding]:
    about = f"model {name}"
    counts = Counter(one["state"] for one in versions.values())
    yield ok(about, ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]))
    newest = max(versions)
    if versions[newest]["state"] == "failed":
        yield warning(
            about,
            f"its newest version {newest} failed: {str(versions[newest].get('error'))[:300]}",
            "see build.log of the version, put the file right and register it again; retire this one",
        )
    # A counter that lags gives a number out twice, and the second registration is refused.
    if not isinstance(counter, int) or counter < newest:
        yield wrong(
            about,
            f"its counter of versions is {counter!r}, and there is a version {newest}: the next cannot be registered",
            f"in mongosh: db.registry.updateOne({{_id: {name!r}}}, {{$set: {{next_version: {newest}}}}}, "
            "{upsert: true})",
        )


def _aliases(name: str, aliases: Mapping[str, Any], versions: Mapping[int, Document]) -> Iterator[Finding]:
    for alias, target in sorted(aliases.items()):
        about = f"alias {alias} of {name}"
        version = versions.get(target) if isinstance(target, int) else None
        if version is not None and version["state"] == "available":
            yield ok(about, f"version {target}")
            continue
        state = f"which is {version['state']}" if version is not None else "which is not there"
        yield wrong(
            about,
            f"it means version {target!r}, {state}: who asks for it gets an error",
            f"move it: PATCH `aliases` of an available version of {name} with those that it has and this one; where "
            f"there is none, take it out of aliases in db.registry.find({{_id: {name!r}}})",
        )


def _executor(version: Document, here: Here) -> Iterator[Finding]:
    about = f"model {version['name']}:{version['version']}"
    try:
        kinds = [way.executor for way in ways_here(version, processor.here())]
    except NotBuiltHere as error:
        yield warning(about, str(error), "let a process that can build run on this machine; it builds it")
        return
    except ExecutorError as error:
        yield wrong(about, str(error), "register the file again, or serve it on other machines alone")
        return
    except (KeyError, TypeError, ValueError, AttributeError):
        kinds = []
    known = [kind for kind in kinds if kind in here.executors]
    if not known:
        named_kinds = ", ".join(map(repr, kinds)) or repr(version.get("executor"))
        yield wrong(about, f"it is to be run by {named_kinds}, which is no executor of this Almanac", _UPDATE)
    elif all(here.executors[kind] is not None for kind in known):
        yield wrong(
            about,
            f"it is run by {' or '.join(known)}, which does not run here: {here.executors[known[0]]}",
            "see the line on that executor; another replica may serve it meanwhile",
        )


_UPDATE = "update Almanac here to the one that built it, or register the file again"


def _undone(db: Database[Document], here: Here) -> Iterator[Finding]:
    """Versions that are to be built. Their leases are compared by the database's clock."""
    past = {"$subtract": ["$$NOW", int(WAIT_SECONDS * 1000)]}
    # Without a lease nobody has taken it yet, and it waits since it was stored.
    since = {"$ifNull": ["$build.lease", {"$ifNull": ["$_updated", 0]}]}
    shown = {"name": 1, "version": 1, "late": {"$lt": [since, past]}, "held": {"$gt": ["$build.lease", "$$NOW"]}}
    found = list(db["models"].aggregate([{"$match": {"state": "loading"}}, {"$project": shown}]))
    for one in found:
        about = f"model {one.get('name')}:{one.get('version')}"
        if one["held"]:
            yield ok(about, "it is being built")
        elif not one["late"]:
            yield ok(about, "it is about to be built")
        elif any(other["held"] for other in found):
            yield ok(about, "it waits while another is being built")
        else:
            where = "a server on a machine that can build" if here.builds is not None else "a server"
            yield wrong(
                about,
                "it is to be built, and nobody builds it",
                f"start {where} on this database (python run.py): it takes it over by itself",
            )
