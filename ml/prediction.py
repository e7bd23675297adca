"""A prediction as it is asked for and as it is answered, and what is stored of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bson import ObjectId
from numpy.typing import NDArray

from ml.errors import Invalid, listed
from ml.idempotency.claims import Claim
from ml.live import LiveModel
from ml.signature import Signature
from ml.slots import Record

Storing = Literal["all", "result", "none"]


@dataclass(slots=True)  # a frozen one takes several times as long to make
class Prediction:
    """One request: a model, and either rows as JSON gives them, or the ids of stored inputs."""

    model: str
    version: int | None = None
    alias: str | None = None
    instances: Any = None
    #: The rows where `ml.tensors` has read them against the signature already: every input by name.
    arrays: dict[str, NDArray[Any]] | None = None
    inputs: Sequence[ObjectId] | None = None
    meta: list[dict[str, Any] | None] | None = None
    store: Storing = "all"
    #: Milliseconds until the answer is no longer wanted; None: as the service is set.
    timeout_ms: int | None = None
    outputs: Sequence[str] | None = None
    #: Who asks; stored documents are the asker's.
    owner: str | None = None
    #: What the asker may see of stored inputs, as a filter.
    scope: Mapping[str, Any] = field(default_factory=dict)
    request: str | None = None
    protocol: str = "almanac"
    #: Where it may be sent twice: what gives its documents their ids.
    claim: Claim | None = None


@dataclass(slots=True)
class Answer:
    """What a prediction gave: the outputs by name, first axis the rows in the order asked, and the records' ids."""

    model: str
    version: int
    outputs: dict[str, NDArray[Any]]
    inputs: list[ObjectId] | None
    results: list[ObjectId] | None
    labels: list[dict[str, Any]]
    timing: dict[str, Any]


def wanted_outputs(signature: Signature, outputs: Sequence[str] | None) -> list[str]:
    """The names of the outputs that are to be answered, each once. Raises Invalid."""
    names = [spec.name for spec in signature.outputs]
    if outputs is None:
        return names
    unknown = [name for name in outputs if name not in names]
    if unknown or not outputs:
        came = listed(unknown) if unknown else "an empty list"
        raise Invalid("the request does not fit", {"outputs": f"expected some of {listed(names)}, got {came}"})
    return list(dict.fromkeys(outputs))


def record_of(live: LiveModel, asked: Prediction, rows: int, owners: list[str | None] | None) -> Record | None:
    """What is stored of a prediction by this model; None where nothing is."""
    if asked.store == "none":
        return None
    fresh = asked.inputs is None and asked.store == "all"
    new_id = ObjectId if asked.claim is None else asked.claim.new_id
    return Record(
        model=live.facts,
        owner=asked.owner,
        request=asked.request,
        protocol=asked.protocol,
        meta=asked.meta,
        inputs=[new_id() for _ in range(rows)] if fresh else list(asked.inputs) if asked.inputs is not None else None,
        results=[new_id() for _ in range(rows)],
        store_inputs=fresh,
        classes=live.classes,
        owners=owners,
    )
