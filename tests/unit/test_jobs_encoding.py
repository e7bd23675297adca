"""Results that are encoded together: the same documents as one by one, whatever the outputs are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bson
import numpy as np
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from ml.jobs import encoding, scoring
from ml.signature import Signature, TensorSpec
from ml.slots import Slot

SIGNATURE = Signature((TensorSpec("x", "FP32", (2,)),), ())
JOB = {"_id": ObjectId(), "model": "m", "version": 1, "request": "r-1"}
#: Results of the kinds that there are, for 40 rows.
OUTPUTS: dict[str, dict[str, Any]] = {
    "few numbers": {"y": np.random.default_rng(1).random((40, 10), "f4")},
    "halves": {"y": np.random.default_rng(1).random((40, 10)).astype("f2")},
    "doubles in two axes": {"y": np.random.default_rng(1).random((40, 3, 4))},
    "one number": {"y": np.random.default_rng(1).random(40).astype("f4")},
    "a list of one": {"y": np.random.default_rng(1).random((40, 1)).astype("f4")},
    "packed": {"y": np.random.default_rng(1).random((40, 5, 30)).astype("f4")},
    "packed halves": {"y": np.random.default_rng(1).random((40, 65)).astype("f2")},
    "as many as are an array": {"y": np.random.default_rng(1).random((40, 64)).astype("f4")},
    "several": {"a": np.ones((40, 2), "f4"), "b": np.random.default_rng(1).random((40, 100)), "c": np.zeros(40, "f4")},
    "no numbers at all": {"y": np.array([[np.nan, np.inf, -np.inf, -0.0]] * 40, "f4")},
    "numbers like the marks": {"y": -1024.0 - np.arange(40 * 10).reshape(40, 10)},
    "whole numbers": {"y": np.arange(40).reshape(40, 1)},
    "bytes": {"y": np.array([[b"a"], [b"bc"]] * 20, object)},
    "yes and no": {"y": np.array([[True], [False]] * 20)},
}
BY_THE_DRIVER = ("whole numbers", "bytes", "yes and no")


def live(outputs: dict[str, Any], classes: list[str] | None) -> Any:
    def submit(slot: Slot) -> None:
        slot.outputs = outputs
        slot.started = slot.computed = slot.entered
        slot.batch = 40
        slot.finish()

    facts = {"model": "m", "version": 1, "digest": "0" * 64, "executor": "onnx"}
    return SimpleNamespace(
        signature=SIGNATURE, classes=classes, facts=facts, batcher=SimpleNamespace(submit=submit), version=None
    )


def chunk(**fields: Any) -> list[dict[str, Any]]:
    return [{"_id": ObjectId(), "data": [1.0, float(row)], **fields} for row in range(40)]


def decoded(results: scoring.Results) -> dict[ObjectId, dict[str, Any]]:
    """By input, as a reader of the database gets them; without what is made at random, once it was looked at."""
    found = {}
    for input_, document in zip(results.inputs, results.documents, strict=True):
        raw = document.raw if isinstance(document, RawBSONDocument) else bson.encode(document)
        read = bson.decode(raw)
        assert read["input"] == input_
        assert list(read)[:2] == ["_id", "input"]
        tag = read.pop("_etag")
        assert len(tag) == 24
        assert set(tag) <= set("0123456789abcdef")
        read.pop("_created"), read.pop("_updated")
        found[input_] = read
    assert len({document["_id"] for document in found.values()}) == len(results.inputs) == 40
    return found


def both(
    monkeypatch: pytest.MonkeyPatch, outputs: dict[str, Any], rows: list[dict[str, Any]], classes: Any = None
) -> tuple[scoring.Results, scoring.Results]:
    """The results, and what they are without any shortcut."""
    together = scoring.score(live(outputs, classes), rows, JOB)
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "FEWEST", 10**9)
        return together, scoring.score(live(outputs, classes), rows, JOB)


def raw(results: scoring.Results) -> int:
    return sum(isinstance(document, RawBSONDocument) for document in results.documents)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_they_are_the_same_as_one_by_one(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    together, apart = both(monkeypatch, OUTPUTS[kind], chunk())
    assert raw(apart) == 0
    # A mark may be among the numbers by chance; then the driver does it.
    assert raw(together) == (0 if kind in BY_THE_DRIVER else 40)
    assert repr(decoded(together)) == repr(decoded(apart))  # NaN is not equal to itself


@pytest.mark.parametrize("classes", [["low", "the higher"], [f"class {n}" * n for n in range(10)]])
def test_labels_and_scores(monkeypatch: pytest.MonkeyPatch, classes: list[str]) -> None:
    width = 1 if len(classes) == 2 else 10
    outputs = {"y": np.random.default_rng(3).random((40, width)).astype("f4")}
    outputs["y"][:20, -1] += 1  # so many of one class that they are made together
    together, apart = both(monkeypatch, outputs, chunk(owner="someone"), classes)
    assert raw(together) >= encoding.FEWEST
    assert decoded(together) == decoded(apart)
    assert {document["label"] for document in decoded(together).values()} <= set(classes)


def test_owners_and_metas(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = chunk()
    for number, row in enumerate(rows):
        if number % 2:
            row["owner"] = "a" if number % 3 else "another"
        if number % 5 == 0:
            row["meta"] = {"n": number}
    rows[1]["owner"] = 7  # another program's
    together, apart = both(monkeypatch, OUTPUTS["few numbers"], rows)
    assert 0 < raw(together) < 40
    assert decoded(together) == decoded(apart)


def test_every_tag_is_another() -> None:
    results = scoring.score(live(OUTPUTS["packed"], None), chunk(), JOB)
    assert len({document["_etag"] for document in results.documents}) == 40


def test_rows_that_fail_are_counted() -> None:
    def submit(slot: Slot) -> None:
        slot.outputs = {"y": np.zeros((40, 1), "f4")}
        slot.failures = {3: "no", 7: "no"}
        slot.started = slot.computed = slot.entered
        slot.finish()

    model = live({}, None)
    model.batcher.submit = submit
    results = scoring.score(model, chunk(), JOB)
    assert results.failed == 2
    bad = results.of({results.inputs[3], results.inputs[4]})
    assert (len(bad.documents), bad.failed) == (2, 1)


def test_what_is_kept_of_encoded_ones_is_counted_too() -> None:
    results = scoring.score(live(OUTPUTS["packed"], None), chunk(), JOB)
    kept = results.of(set(results.inputs[:5]))
    assert (len(kept.documents), kept.failed, kept.inputs) == (5, 0, results.inputs[:5])
    assert results.row_bytes == len(results.documents[0].raw)
