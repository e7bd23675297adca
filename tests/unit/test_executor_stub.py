"""The stub executor keeps to what every executor promises."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from ml.executors.base import ExecutorError
from ml.executors.stub import StubExecutor
from ml.signature import Signature, TensorSpec

TWO_AND_TWO = Signature(
    inputs=(TensorSpec("numbers", "FP32", (2, 2)), TensorSpec("words", "BYTES", (None,))),
    outputs=(TensorSpec("scores", "FP32", (3,)), TensorSpec("count", "INT64", ())),
)


def load(tmp_path: Path, signature: Signature = TWO_AND_TWO, **options: float | None) -> StubExecutor:
    (tmp_path / "stub.json").write_text(json.dumps(options))
    return StubExecutor.load(tmp_path, signature)


def test_every_output_comes_in_its_dtype_and_shape(tmp_path: Path) -> None:
    executor = load(tmp_path)
    outputs = executor.run(
        {
            "numbers": np.arange(8, dtype="f4").reshape(2, 2, 2),
            "words": np.array([[b"ab", b""], [b"c", b"def"]], object),
        }
    )
    assert list(outputs) == ["scores", "count"]
    np.testing.assert_array_equal(outputs["scores"], np.array([[8, 9, 10], [26, 27, 28]], "f4"), strict=True)
    np.testing.assert_array_equal(outputs["count"], np.array([8, 26], "i8"), strict=True)


def test_it_warms_and_closes(tmp_path: Path) -> None:
    executor = load(tmp_path)
    executor.warm()
    executor.close()
    assert executor.signature is TWO_AND_TWO


def test_a_batch_fails_that_holds_the_row_it_was_told_to_fail_on(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("x", "INT32", (2,)),), (TensorSpec("y", "FP64", ()),))
    executor = load(tmp_path, signature, fail_on=13.0)
    executor.run({"x": np.array([[6, 6]], "i4")})
    with pytest.raises(ValueError, match="sum 13"):
        executor.run({"x": np.array([[1, 1], [6, 7]], "i4")})


def test_what_it_adds_tells_versions_apart(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("x", "INT32", (2,)),), (TensorSpec("y", "FP64", (2,)),))
    outputs = load(tmp_path, signature, add=100.0).run({"x": np.array([[1, 2], [3, 4]], "i4")})
    np.testing.assert_array_equal(outputs["y"], np.array([[103, 104], [107, 108]], "f8"), strict=True)


@pytest.mark.parametrize("content", [None, "", "{"])
def test_an_artefact_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "stub.json").write_text(content)
    with pytest.raises(ExecutorError, match=r"stub\.json"):
        StubExecutor.load(tmp_path, TWO_AND_TWO)


def test_its_tally_has_a_line_for_each_call_of_each_process(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("x", "INT32", (2,)),), (TensorSpec("y", "FP64", ()),))
    one = load(tmp_path, signature, tally=True)
    other = load(tmp_path, signature, tally=True, fail_on=7.0)
    one.run({"x": np.array([[1, 2], [3, 4]], "i4")})
    with pytest.raises(ValueError, match="sum 7"):
        other.run({"x": np.array([[3, 4]], "i4")})
    one.run({"x": np.array([[1000000, 1]], "i4")})
    pid = os.getpid()
    assert (tmp_path / "tally").read_text() == f"{pid} 3 7\n{pid} 7\n{pid} 1000001\n"


def test_it_is_as_slow_as_it_is_told(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("x", "INT32", (2,)),), (TensorSpec("y", "FP64", ()),))
    executor = load(tmp_path, signature, seconds_per_row=0.01)
    began = time.monotonic()
    executor.run({"x": np.array([[1, 2], [3, 4]], "i4")})
    assert time.monotonic() - began >= 0.02


def test_what_is_too_large_is_infinite(tmp_path: Path) -> None:
    signature = Signature(
        (TensorSpec("x", "FP32", (2,)),), (TensorSpec("y", "FP32", (1,)), TensorSpec("n", "INT64", ()))
    )
    outputs = load(tmp_path, signature).run({"x": np.array([[3e38, 3e38]], "f4")})
    np.testing.assert_array_equal(outputs["y"], np.array([[np.inf]], "f4"), strict=True)
    assert outputs["n"].dtype == np.int64
