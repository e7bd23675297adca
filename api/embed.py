"""Documents in the place of the ids that refer to them: one query a field, through the caller's own scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bson import ObjectId

from api.resources import RESOURCES
from ml.database.client import Document

#: Gives the documents of a resource with these ids that the caller may see.
Read = Callable[[str, list[ObjectId]], Iterable[Document]]


def embed(resource: str, documents: Sequence[Document], fields: Sequence[str], read: Read) -> None:
    """Put in `fields` of each document what they refer to; an id that leads to nothing the caller sees stays an id."""
    for name in fields:
        ids = {document[name] for document in documents if isinstance(document.get(name), ObjectId)}
        if not ids:
            continue
        relation = RESOURCES[resource].schema[name]["data_relation"]
        found = {document["_id"]: document for document in read(relation["resource"], list(ids))}
        for document in documents:
            if isinstance(document.get(name), ObjectId):
                document[name] = found.get(document[name], document[name])
