"""The rows of a prediction: those that were sent, or stored inputs, held against what the model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import READ_MS, Document
from ml.errors import Invalid, StorageUnavailable, UnknownDocuments
from ml.prediction import Prediction
from ml.signature import Signature
from ml.tensors import TensorIssues, parse_instances, stack_stored


def rows_of(
    db: Database[Document], signature: Signature, asked: Prediction
) -> tuple[dict[str, NDArray[Any]], int, list[str | None] | None]:
    """The rows, held against the signature; how many they are; and their owners, where they are stored inputs."""
    arrays, owners = _rows(db, signature, asked)
    rows = len(next(iter(arrays.values())))
    if asked.meta is not None and len(asked.meta) != rows:
        raise Invalid("the request does not fit", {"meta": f"expected {rows} objects, got {len(asked.meta)}"})
    return arrays, rows, owners


def _rows(
    db: Database[Document], signature: Signature, asked: Prediction
) -> tuple[dict[str, NDArray[Any]], list[str | None] | None]:
    try:
        if asked.arrays is not None:
            return asked.arrays, None
        if asked.inputs is None:
            return parse_instances(asked.instances, signature), None
        documents = _stored(db, asked.inputs, asked.scope)
        arrays = stack_stored(documents, signature, [f"inputs[{i}]" for i in range(len(documents))])
        return arrays, [document.get("owner") for document in documents]
    except TensorIssues as error:
        raise Invalid("the rows do not fit the model", error.issues) from None


def _stored(db: Database[Document], ids: Sequence[ObjectId], scope: Mapping[str, Any]) -> list[Document]:
    try:
        found = {
            document["_id"]: document
            for document in db["inputs"].find(
                {"$and": [{"_id": {"$in": list(set(ids))}}, dict(scope)]}, max_time_ms=READ_MS
            )
        }
    except PyMongoError as error:
        raise StorageUnavailable(f"the inputs cannot be read: {type(error).__name__}") from error
    missing = {f"inputs[{i}]": f"there is no input {id_}" for i, id_ in enumerate(ids) if id_ not in found}
    if missing:
        raise UnknownDocuments("inputs that do not exist", missing)
    return [found[id_] for id_ in ids]
