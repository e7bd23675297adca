"""The ways in which a version can be run here: those that were proven, on a processor like this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from ml.executors.base import ExecutorError
from ml.processor import fits


class NotBuiltHere(ExecutorError):
    """The version was built on a processor that this one is not like; it is to be built here too."""


@dataclass(frozen=True, slots=True)
class Way:
    """An executor, its number of threads, and the file in GridFS that it loads."""

    executor: str
    threads: int
    artefact: ObjectId


def ways_here(document: Mapping[str, Any], processor: Mapping[str, Any], forced: str | None = None) -> list[Way]:
    """The ways of an available version, the best first; where an executor is `forced`, those of it alone.

    Raises NotBuiltHere, or ExecutorError where there is none and will be none.
    """
    build = document.get("build") or {}
    first = {"executor": document["executor"], "threads": 1}
    made = {**build, "ways": build.get("ways") or [first], "artefacts": document["artefacts"]}
    for one in (made, *document.get("elsewhere", ())):
        if fits(one.get("processor"), processor):
            if "error" in one:
                raise ExecutorError(f"the build for this processor failed: {one['error']}")
            found = list(_ways(one))
            asked = [way for way in found if forced in (None, way.executor)]
            if not asked:
                names = ", ".join(dict.fromkeys(way.executor for way in found))
                raise ExecutorError(f"ALMANAC_EXECUTOR asks for {forced!r}; proven are: {names}")
            return asked
    raise NotBuiltHere("it was built on another kind of processor, and is to be built on this one")


def _ways(made: Mapping[str, Any]) -> Iterator[Way]:
    """One for each executor: the number of threads is the one that was best."""
    seen = set()
    for way in made["ways"]:
        kind = way["executor"]
        if kind not in seen:
            seen.add(kind)
            yield Way(kind, way["threads"], made["artefacts"][kind])
