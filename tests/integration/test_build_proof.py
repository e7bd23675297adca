"""The proof itself: which rows are tried, and that an executor which answers otherwise than Keras is found out.

Keras is played by functions of numpy here, so that it can be made to refuse, to guess and to mix rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.build import BuildError, timing
from ml.build.proof import Comparison, Proof
from ml.build.rows import Inputs, RowMaker
from ml.executors.base import Arrays, Executor
from ml.signature import Signature, TensorSpec

Outputs = dict[str, NDArray[Any]]
Answer = Callable[[Inputs], Outputs]


class Played(Executor):
    """An executor that is a function."""

    name = "played"

    def __init__(self, signature: Signature, answer: Answer) -> None:
        self._signature = signature
        self._answer = answer

    @classmethod
    def load(cls, artefact: Path, signature: Signature) -> Played:
        raise NotImplementedError

    def run(self, inputs: Arrays) -> Outputs:
        return self._answer(dict(inputs))

    def close(self) -> None:
        pass

    @property
    def signature(self) -> Signature:
        return self._signature


def signature(*inputs: TensorSpec, output: str = "FP32", shape: tuple[int | None, ...] = (3,)) -> Signature:
    return Signature(inputs=inputs, outputs=(TensorSpec("y", output, shape),))


NUMBERS = signature(TensorSpec("x", "FP32", (3,)))


def scaled(inputs: Inputs) -> Outputs:
    return {"y": inputs["x"] * np.float32(1.5) + np.array([0, 0.25, 0.5], "f4")}


def compared(
    executor: Answer, keras: Answer = scaled, of: Signature = NUMBERS, *, half: bool = False, sample: Path | None = None
) -> Comparison:
    proof = Proof(of, keras, half=half, words=[])
    proof.collect(sample)
    return proof.compare(Played(of, executor))


def test_the_same_answers_agree() -> None:
    result = compared(scaled)
    assert result == Comparison(reason=None, worst=0.0, rows=28)


def test_a_difference_within_the_tolerance_agrees() -> None:
    result = compared(lambda inputs: {"y": scaled(inputs)["y"] * np.float32(1 + 1e-5)})
    assert result.reason is None
    assert 1e-4 < result.worst < 0.1


def test_tiny_answers_are_compared_too() -> None:
    """Those of a deep network with random weights: all of them are less than what may be off of others."""

    def tiny(inputs: Inputs) -> Outputs:
        return {"y": scaled(inputs)["y"] * np.float32(1e-12)}

    reason = compared(lambda inputs: {"y": scaled(inputs)["y"] * np.float32(0)}, tiny).reason
    assert reason is not None
    assert "differs from Keras" in reason
    assert compared(lambda inputs: {"y": tiny(inputs)["y"] * np.float32(1 + 1e-5)}, tiny).reason is None


WRONG: dict[str, Answer] = {
    "a little off": lambda inputs: {"y": scaled(inputs)["y"] * np.float32(1.001)},
    "off on large numbers": lambda inputs: {"y": np.clip(scaled(inputs)["y"], -1000, 1000)},
    "off on zeros": lambda inputs: {"y": np.where(inputs["x"].any(), scaled(inputs)["y"], np.float32(0))},
    "rows in another order": lambda inputs: {"y": scaled(inputs)["y"][::-1]},
    "always the first row": lambda inputs: {"y": scaled(inputs)["y"][[0] * len(inputs["x"])]},
    "columns in another order": lambda inputs: {"y": scaled(inputs)["y"][:, ::-1]},
    "not a number": lambda inputs: {"y": np.where(inputs["x"] > 900, np.float32("nan"), scaled(inputs)["y"])},
    "infinite": lambda inputs: {"y": np.where(inputs["x"] > 900, np.float32("inf"), scaled(inputs)["y"])},
    "another dtype": lambda inputs: {"y": scaled(inputs)["y"].astype("f8")},
    "another shape": lambda inputs: {"y": scaled(inputs)["y"][:, :, None]},
    "a row too few": lambda inputs: {"y": scaled(inputs)["y"][1:]},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_other_answers_are_found_out(wrong: str) -> None:
    result = compared(WRONG[wrong])
    assert result.reason is not None
    assert "'y'" in result.reason
    assert np.isfinite(result.worst)


def test_what_is_no_number_is_a_difference() -> None:
    one = signature(TensorSpec("x", "FP32", (1,)), shape=(1,))
    result = compared(
        lambda inputs: {"y": np.where(inputs["x"] == 0, np.float32("nan"), inputs["x"])},
        lambda inputs: {"y": inputs["x"]},
        one,
    )
    assert result.reason == "differs from Keras by nan in output 'y' (1e-05 is allowed), on edge rows (zeros)"


def test_an_executor_that_fails_where_keras_does_not_is_found_out() -> None:
    def fails(inputs: Inputs) -> Outputs:
        if len(inputs["x"]) == 16:
            raise RuntimeError("too many")
        return scaled(inputs)

    assert compared(fails).reason == "fails on random rows: RuntimeError: too many"


def test_the_place_of_the_largest_value_counts_where_it_is_clear() -> None:
    def keras(inputs: Inputs) -> Outputs:
        return {"y": inputs["x"] * 0 + np.array([1.0, 1.00015, 0.0], "f4")}

    def swapped(inputs: Inputs) -> Outputs:
        return {"y": inputs["x"] * 0 + np.array([1.0001, 1.00005, 0.0], "f4")}

    reason = compared(swapped, keras).reason
    assert reason is not None
    assert "largest value in another place" in reason


def tied(inputs: Inputs) -> Outputs:
    """A softmax of two large sums, which are the same where all numbers of the row are."""
    weights = np.array([[3, -3], [-3, 3], [1, 1]], "f4")
    sums = inputs["x"] @ weights
    raised = np.exp(sums - sums.max(axis=1, keepdims=True))
    return {"y": raised / raised.sum(axis=1, keepdims=True)}


TIED = signature(TensorSpec("x", "FP32", (3,)), shape=(2,))


def test_answers_may_be_as_far_off_as_keras_is_from_itself() -> None:
    def rounded_otherwise(inputs: Inputs) -> Outputs:
        return tied({"x": np.nextafter(inputs["x"], np.float32(np.inf) * np.array([1, -1, 1], "f4"))})

    def off(inputs: Inputs, by: float, *, elsewhere: bool) -> Outputs:
        answer = tied(inputs)["y"]
        return {"y": np.where(inputs["x"].any() == elsewhere, answer, answer + np.array([by, -by], "f4"))}

    result = compared(rounded_otherwise, tied, TIED)
    assert result.reason is None
    assert result.worst > 1.1e-4  # more than is allowed of other answers
    assert "differs" in (compared(lambda inputs: off(inputs, 2e-3, elsewhere=False), tied, TIED).reason or "")
    assert "(zeros)" in (compared(lambda inputs: off(inputs, 2e-4, elsewhere=True), tied, TIED).reason or "")


def test_half_precision_has_a_tolerance_of_its_own() -> None:
    def off(inputs: Inputs) -> Outputs:
        return {"y": scaled(inputs)["y"] * np.float32(1.003)}

    assert compared(off).reason is not None
    assert compared(off, half=True).reason is None


def test_integers_and_strings_are_compared_exactly() -> None:
    whole = signature(TensorSpec("x", "FP32", (3,)), output="INT64")
    words = signature(TensorSpec("x", "BYTES", (2,)), output="BYTES", shape=(2,))

    def rounded(inputs: Inputs, more: int = 0) -> Outputs:
        return {"y": np.rint(inputs["x"]).astype("i8") + more * (inputs["x"] > 900)}

    def upper(inputs: Inputs, end: bytes = b"") -> Outputs:
        each = [[word.upper() + end * (len(word) > 200) for word in row] for row in inputs["x"]]
        return {"y": np.array(each, object)}

    assert compared(rounded, rounded, whole).reason is None
    assert "other values for output 'y'" in (compared(lambda i: rounded(i, 1), rounded, whole).reason or "")
    assert compared(upper, upper, words).reason is None
    assert "other values for output 'y'" in (compared(lambda i: upper(i, b"."), upper, words).reason or "")


def test_rows_on_which_keras_is_not_finite_are_left_out() -> None:
    def root(inputs: Inputs) -> Outputs:
        with np.errstate(invalid="ignore"):
            return {"y": np.sqrt(inputs["x"])}

    def root_or_zero(inputs: Inputs) -> Outputs:
        return {"y": np.sqrt(np.maximum(inputs["x"], 0))}

    result = compared(root_or_zero, root)
    assert result.reason is None
    assert 5 < result.rows < 28


def test_answers_that_cannot_be_compared_are_refused() -> None:
    def infinite(inputs: Inputs) -> Outputs:
        return {"y": np.full_like(inputs["x"], np.inf)}

    def refuses(inputs: Inputs) -> Outputs:
        raise ValueError("not today")

    with pytest.raises(BuildError, match="no finite answer"):
        compared(infinite, infinite)
    with pytest.raises(BuildError, match="Keras refuses every row that was tried: not today"):
        compared(refuses, refuses)


def test_answers_that_a_batch_would_change_are_refused() -> None:
    source = np.random.default_rng(1)

    def mixes(inputs: Inputs) -> Outputs:
        return {"y": inputs["x"] - inputs["x"].mean(axis=0)}

    def guesses(inputs: Inputs) -> Outputs:
        return {"y": inputs["x"] + source.random(3, "f4")}

    def folds(inputs: Inputs) -> Outputs:
        return {"y": inputs["x"][:1]}

    with pytest.raises(BuildError, match="depends on the other rows of its batch"):
        compared(mixes, mixes)
    with pytest.raises(BuildError, match="gives two answers to the same rows"):
        compared(guesses, guesses)
    with pytest.raises(BuildError, match=r"has \(1,\) rows for 3 rows"):
        compared(folds, folds)


def seen(of: Signature, accepts: Callable[[Inputs], bool] = lambda inputs: True) -> list[Inputs]:
    return [batch.inputs for batch in RowMaker(of, accepts, ["known"]).batches() if accepts(batch.inputs)]


@pytest.mark.parametrize("rows", [2, 3, 20, 50, 1000])
def test_integers_go_as_far_as_a_table_has_rows(rows: int) -> None:
    of = signature(TensorSpec("ids", "INT32", (4,)), TensorSpec("x", "FP32", (2,)))
    batches = seen(of, lambda inputs: bool(((inputs["ids"] >= 0) & (inputs["ids"] < rows)).all()))
    ids = np.concatenate([batch["ids"] for batch in batches])
    assert ids.dtype == np.int32
    assert set(range(min(rows, 9))) <= set(ids.ravel().tolist())
    assert ids.max() == rows - 1
    assert len(batches) == 7


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("INT8", -127, 127),
        ("UINT8", 0, 255),
        ("INT64", -(2**20), 2**20),
        ("UINT64", 0, 2**20),
        ("BOOL", 0, 1),
        ("FP32", -1000, 1000),
        ("FP16", -100, 100),
    ],
)
def test_numbers_that_all_are_accepted_go_far(dtype: str, low: float, high: float) -> None:
    spec = TensorSpec("x", dtype, (3, 2))
    values = np.concatenate([batch["x"] for batch in seen(signature(spec))])
    assert values.dtype == spec.numpy_dtype
    assert values.shape == (28, 3, 2)
    assert (values.min(), values.max()) == (low, high)
    assert len(np.unique(values)) > (1 if dtype == "BOOL" else 50)


def test_floats_that_are_indices_are_whole() -> None:
    def accepts(inputs: Inputs) -> bool:
        return bool(((inputs["x"] >= 0) & (inputs["x"] < 30)).all())

    values = np.concatenate([batch["x"] for batch in seen(NUMBERS, accepts)])
    assert values.max() == 29
    assert (values == np.rint(values)).all()


def test_strings_hold_words_of_the_model_and_others() -> None:
    values = np.concatenate([batch["x"] for batch in seen(signature(TensorSpec("x", "BYTES", (3,))))])
    words = set(values.ravel().tolist())
    assert all(type(word) is bytes for word in words)
    assert b"" in words
    assert any(b"known" in word for word in words)
    assert any(not word.isascii() for word in words)


def test_free_dimensions_take_sizes_that_keras_accepts() -> None:
    of = signature(TensorSpec("a", "FP32", (None, 3)), TensorSpec("b", "INT32", (None,)))
    shapes = {batch["a"].shape[1:] + batch["b"].shape[1:] for batch in seen(of)}
    assert shapes == {(1, 3, 1), (7, 3, 7), (32, 3, 32)}

    picture = signature(TensorSpec("x", "UINT8", (None, None, 3)))
    assert {batch["x"].shape[1:3] for batch in seen(picture)} == {(1, 2), (7, 8), (32, 33)}

    def large(inputs: Inputs) -> bool:
        return all(size % 32 == 0 for size in inputs["x"].shape[1:3])

    assert {batch["x"].shape[1:3] for batch in seen(picture, large)} == {(32, 32), (128, 128), (224, 224)}


def write(tmp_path: Path, rows: NDArray[Any]) -> Path:
    np.save(tmp_path / "sample.npy", rows)
    return tmp_path / "sample.npy"


def test_sample_rows_are_compared_too(tmp_path: Path) -> None:
    def off_on_the_sample(inputs: Inputs) -> Outputs:
        return {"y": scaled(inputs)["y"] + np.float32(1) * (inputs["x"][:, :1] == 777)}

    assert compared(off_on_the_sample).reason is None
    rows = np.zeros((3000, 3))
    rows[-1] = 777
    reason = compared(off_on_the_sample, sample=write(tmp_path, rows)).reason
    assert reason is not None
    assert reason.endswith("on sample rows")


def test_sample_strings(tmp_path: Path) -> None:
    words = signature(TensorSpec("x", "BYTES", ()), output="INT64", shape=())

    def length(inputs: Inputs) -> Outputs:
        return {"y": np.array([len(word) for word in inputs["x"]], "i8")}

    for rows in (np.array(["été", "b"]), np.array([b"a", b"bc"])):
        assert compared(length, length, words, sample=write(tmp_path, rows)).rows == 30


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (np.zeros((2, 4), "f4"), r"shape \(2, 4\); the model takes rows of FP32\[3\]"),
        (np.zeros((0, 3), "f4"), r"shape \(0, 3\)"),
        (np.zeros((), "f4"), r"shape \(\)"),
        (np.array([["a", "b", "c"]]), "the sample holds <U1; the model takes FP32"),
        (np.array([[1j, 2, 3]]), "the sample holds complex128"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, rows: NDArray[Any], word: str) -> None:
    with pytest.raises(BuildError, match=word):
        compared(scaled, sample=write(tmp_path, rows))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00v\x00{'descr': '|O'", b"\x80\x04]\x94."])
def test_samples_that_are_no_arrays_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sample.npy"
    path.write_bytes(content)
    with pytest.raises(BuildError, match=r"not a \.npy file that can be read"):
        compared(scaled, sample=path)


def test_a_sample_that_keras_refuses_fails_the_build(tmp_path: Path) -> None:
    def picky(inputs: Inputs) -> Outputs:
        if (inputs["x"] == 777).any():
            raise ValueError("no 777")
        return scaled(inputs)

    with pytest.raises(BuildError, match="Keras refuses the sample rows: no 777"):
        compared(picky, picky, sample=write(tmp_path, np.full((1, 3), 777.0)))


def test_a_sample_is_for_one_input(tmp_path: Path) -> None:
    two = signature(TensorSpec("a", "FP32", (3,)), TensorSpec("b", "FP32", (3,)))
    with pytest.raises(BuildError, match="for models with one input; this one has 2"):
        compared(scaled, scaled, two, sample=write(tmp_path, np.zeros((1, 3))))


def test_every_batch_size_is_timed_that_time_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def takes_4_mb_a_row(inputs: Inputs) -> Outputs:
        sizes.append(len(inputs["x"]))
        return {"y": np.ones((len(inputs["x"]), 2**20), "f4")}

    monkeypatch.setattr(timing, "MOST_CALLS", 2)
    executor = Played(NUMBERS, takes_4_mb_a_row)
    rows = {"x": np.zeros((3, 3), "f4")}
    assert list(timing.executor_ms(executor, rows, memory_mb=10**6)) == ["1", "8", "32", "128"]
    assert set(sizes) == {1, 8, 32, 128}
    assert list(timing.executor_ms(executor, rows, memory_mb=1)) == ["1"]
    # What this process has in use goes up and down with the tests before: 100 MB, and what the last call took.
    with monkeypatch.context() as played:
        played.setattr(timing, "_memory_mb", lambda what: 100.0 + (4 * sizes[-1] if what == "VmHWM" else 0))
        assert list(timing.executor_ms(executor, rows, memory_mb=int((100 + 80) / 0.8))) == ["1", "8"]
    monkeypatch.setattr(timing, "LONGEST_CALL_SECONDS", 0)
    assert list(timing.executor_ms(executor, rows, memory_mb=10**6)) == ["1"]
