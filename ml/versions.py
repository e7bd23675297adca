"""What the models collection says: versions, aliases, and which version is meant by a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from ml.database.client import READ_MS, Document
from ml.errors import UnknownModel, listed

#: A version's name and number.
Key = tuple[str, int]

#: The longest that a model may let its rows wait for company.
MAX_WINDOW_MS = 1000

FIELDS = (
    "name",
    "version",
    "state",
    "error",
    "digest",
    "inputs",
    "outputs",
    "classes",
    "executor",
    "artefacts",
    "build.ways",
    "build.processor",
    "elsewhere",
    "batch_window_ms",
    "owner",
)
#: What a version cannot be without. What other programs put among the models must not stop those that are.
TYPES = {"name": str, "version": int, "state": str}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model as its document says."""

    id: ObjectId
    name: str
    number: int
    state: str
    error: str | None
    document: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name}:{self.number}"

    @property
    def key(self) -> Key:
        return self.name, self.number

    @property
    def batch_window(self) -> float:
        """Seconds that the first row of a batch waits for others; 0 where the document says nothing that can be."""
        window = self.document.get("batch_window_ms")
        return window / 1000 if isinstance(window, (int, float)) and 0 <= window <= MAX_WINDOW_MS else 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The models collection at one moment."""

    versions: dict[str, dict[int, Version]] = field(default_factory=dict)
    aliases: dict[str, dict[str, int]] = field(default_factory=dict)

    def state(self, key: Key) -> str | None:
        """A version's state; None where there is no such version."""
        version = self.versions.get(key[0], {}).get(key[1])
        return version.state if version is not None else None

    def available(self) -> dict[Key, Version]:
        """What can be loaded."""
        return {
            version.key: version
            for versions in self.versions.values()
            for version in versions.values()
            if version.state == "available"
        }

    def meanings(self, name: str) -> dict[str | None, Version]:
        """What each alias of a name means, those that mean nothing left out; under None what the bare name means."""
        versions = self.versions.get(name)
        if not versions:
            return {}
        aliases = self.aliases.get(name, {})
        meanings: dict[str | None, Version] = {None: choose(self, name, None, None)}
        meanings.update({alias: versions[number] for alias, number in aliases.items() if number in versions})
        return meanings

    def kept(self) -> list[Version]:
        """The available versions that a replica keeps loaded: those with an alias, and each name's newest."""
        kept = []
        for name, versions in self.versions.items():
            available = [number for number, version in versions.items() if version.state == "available"]
            wanted = {max(available)} if available else set()
            wanted |= set(self.aliases.get(name, {}).values()) & set(available)
            kept += [versions[number] for number in sorted(wanted)]
        return kept


def read(db: Database[Document]) -> Snapshot:
    """The collections as they are now. Raises PyMongoError."""
    versions: dict[str, dict[int, Version]] = {}
    for document in db["models"].find({}, dict.fromkeys(FIELDS, True), max_time_ms=READ_MS):
        if not all(isinstance(document.get(field), kind) for field, kind in TYPES.items()):
            continue
        version = Version(
            document["_id"],
            document["name"],
            document["version"],
            document["state"],
            document.get("error"),
            document,
        )
        versions.setdefault(version.name, {})[version.number] = version
    entries = {entry["_id"]: entry.get("aliases") for entry in db["registry"].find(max_time_ms=READ_MS)}
    aliases = {
        name: {alias: number for alias, number in targets.items() if isinstance(number, int)}
        for name, targets in entries.items()
        if isinstance(targets, dict)
    }
    return Snapshot(versions, aliases)


def choose(snapshot: Snapshot, name: str, version: int | None, alias: str | None) -> Version:
    """The version that is meant, in whatever state it is. Raises UnknownModel."""
    versions = snapshot.versions.get(name)
    if not versions:
        raise UnknownModel(f"there is no model {name[:100]!r}; there are: {listed(sorted(snapshot.versions))}")
    aliases = snapshot.aliases.get(name, {})
    if alias is not None:
        if alias not in aliases:
            raise UnknownModel(f"{name} has no alias {alias[:100]!r}; there are: {listed(sorted(aliases))}")
        version = aliases[alias]
    if version is not None:
        if version not in versions:
            raise UnknownModel(f"{name} has no version {str(version)[:100]}; there are: {listed(sorted(versions))}")
        return versions[version]
    if "stable" in aliases and aliases["stable"] in versions:
        return versions[aliases["stable"]]
    available = [number for number, entry in versions.items() if entry.state == "available"]
    return versions[max(available or versions)]
