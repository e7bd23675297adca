"""A prediction that was begun before: the answer made of what it stored, or its remains taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database

from ml.database.client import READ_MS, Document
from ml.signature import Signature
from ml.tensors import from_stored


@dataclass(frozen=True, slots=True)
class Former:
    """What an earlier run of the same request stored: outputs by name, first axis the rows, and each row's label."""

    version: int
    signature: Signature
    outputs: dict[str, NDArray[Any]]
    labels: list[dict[str, Any]]
    timing: dict[str, Any]


def former_run(
    db: Database[Document], results: Sequence[ObjectId], signature_of: Callable[[int], Signature]
) -> Former | None:
    """The earlier run whose results have these ids, one a row; None where it stored not all, or the model failed.

    Then what there is of them is removed: the rows are computed again, and what is stored must be what is answered.
    """
    ids = list(results)
    found = {document["_id"]: document for document in db["results"].find({"_id": {"$in": ids}}, max_time_ms=READ_MS)}
    documents = [found[id_] for id_ in ids if id_ in found and found[id_]["status"] == "succeeded"]
    if len(documents) < len(ids):
        if found:
            db["results"].delete_many({"_id": {"$in": ids}})
        return None
    signature = signature_of(documents[0]["version"])
    outputs = {
        spec.name: np.stack([from_stored(document["output"][spec.name], spec) for document in documents])
        for spec in signature.outputs
    }
    labels: list[dict[str, Any]] = [
        {name: document[name] for name in ("label", "score") if name in document} for document in documents
    ]
    return Former(documents[0]["version"], signature, outputs, labels, dict(documents[0]["timing"]))
