"""The newest results and jobs that a caller may see, in few steps however many there are.

An owner's stand in the order of one index. All owners' do not: an administrator's are read version by version, each in
the order of another index, and the database merges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.cursor import Cursor

from api.auth.caller import Caller
from ml.database.client import Document
from ml.service import Service

#: Versions, the newest, of which an administrator's results are looked for. More would make the database sort.
MOST_VERSIONS = 100
#: No page waits longer for one of these.
MOST_MS = 2_000

#: A filter that one index answers, and the index.
Part = tuple[dict[str, Any], str]


def parts_of(service: Service, caller: Caller) -> list[Part]:
    """The filters, each with its index, that together leave what this caller may see of the results."""
    if not caller.is_admin:
        return [(caller.scope("results"), "owner_created")]
    models = service.db["models"].find({}, {"name": True, "version": True}, max_time_ms=MOST_MS)
    newest = models.sort("_id", -1).limit(MOST_VERSIONS)
    return [
        ({"model": one["name"], "version": one["version"]}, "model_version_created")
        for one in newest
        if "name" in one and "version" in one
    ]


def newest_results(
    service: Service, parts: list[Part], most: int, fields: Mapping[str, Any], also: Mapping[str, Any] | None = None
) -> Cursor[Document]:
    """Results of these parts, the newest first; with `also`, which must narrow what the index is read by."""
    filters = [{**filter_, **(also or {})} for filter_, _ in parts]
    where: dict[str, Any] = {"$or": filters} if filters else {"_id": {"$in": []}}
    found = service.db["results"].find(where, fields, max_time_ms=MOST_MS).sort("_created", -1).limit(most)
    return found.hint(parts[0][1]) if parts else found


def newest_jobs(service: Service, caller: Caller, most: int) -> Cursor[Document]:
    """Jobs, the newest first."""
    found = service.db["jobs"].find(caller.scope("jobs"), max_time_ms=MOST_MS).limit(most)
    return found.sort("_id", -1) if caller.is_admin else found.sort("_created", -1).hint("owner_created")
