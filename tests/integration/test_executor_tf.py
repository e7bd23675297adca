"""The TensorFlow executor on artefacts made without Keras: dtypes, errors, and what loading asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.executors.base import ExecutorError, input_key, output_key
from ml.executors.tf import FUNCTION, TfExecutor, tensorflow
from ml.signature import NUMPY_OF, Signature, TensorSpec


@pytest.fixture(scope="module")
def tf() -> Any:
    return tensorflow()


Write = Callable[..., Path]


@pytest.fixture
def write(tf: Any, tmp_path: Path) -> Write:
    """Writes an artefact: a function of tensors to tensors, in the layout that the build writes."""

    def save(function: Callable[..., list[Any]], signature: Signature, **tracked: Any) -> Path:
        module = tf.Module()
        for name, value in tracked.items():
            setattr(module, name, value)
        specs = [
            tf.TensorSpec(
                [None, *spec.shape], "string" if spec.dtype == "BYTES" else NUMPY_OF[spec.dtype], input_key(n)
            )
            for n, spec in enumerate(signature.inputs)
        ]

        @tf.function(input_signature=specs)  # type: ignore[untyped-decorator]
        def serve(*tensors: Any) -> dict[str, Any]:
            return {output_key(n): value for n, value in enumerate(function(*tensors))}

        tf.saved_model.save(module, str(tmp_path / "artefact"), signatures={FUNCTION: serve})
        return tmp_path / "artefact"

    return save


def test_every_dtype_goes_in_and_comes_out_as_it_is(write: Write) -> None:
    specs = tuple(TensorSpec(f"{dtype} in/1", dtype, (2,)) for dtype in NUMPY_OF)
    signature = Signature(inputs=specs, outputs=tuple(reversed(specs)))
    executor = TfExecutor.load(write(lambda *tensors: list(reversed(tensors)), signature), signature)
    inputs = {
        spec.name: np.array([[b"a", b"\xff\x00"], [b"", "é".encode()]], object)
        if spec.dtype == "BYTES"
        else np.array([[0, 1], [1, 0]], spec.numpy_dtype)
        for spec in specs
    }
    outputs = executor.run(inputs)
    assert list(outputs) == [spec.name for spec in reversed(specs)]
    for name, values in inputs.items():
        np.testing.assert_array_equal(outputs[name], values, strict=True)
    assert all(type(word) is bytes for word in outputs["BYTES in/1"].flat)
    executor.warm()
    empty = executor.run({name: values[:0] for name, values in inputs.items()})
    assert {values.shape for values in empty.values()} == {(0, 2)}


TWO = Signature(
    inputs=(TensorSpec("ids", "INT32", (None,)), TensorSpec("factor", "FP32", ())),
    outputs=(TensorSpec("rows", "FP32", (None, 2)), TensorSpec("sum", "FP32", ())),
)


@pytest.fixture
def look_up(tf: Any, write: Write) -> TfExecutor:
    """Looks ids up in a table of three rows."""
    table = tf.Variable([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])

    def function(ids: Any, factor: Any) -> list[Any]:
        rows = tf.gather(table, ids) * factor[:, None, None]
        return [rows, tf.reduce_sum(rows, [1, 2])]

    return TfExecutor.load(write(function, TWO, table=table), TWO)


def test_inputs_go_by_name_and_free_dimensions_are_free(look_up: TfExecutor) -> None:
    for count in (1, 4):
        ids = np.full((2, count), 2, "i4")
        outputs = look_up.run({"factor": np.array([1, 10], "f4"), "ids": ids})
        np.testing.assert_array_equal(outputs["rows"][1], [[40, 50]] * count)
        np.testing.assert_array_equal(outputs["sum"], np.array([9 * count, 90 * count], "f4"), strict=True)


def test_what_the_model_refuses_is_an_exception_and_the_next_batch_is_answered(look_up: TfExecutor) -> None:
    factor = np.ones(1, "f4")
    with pytest.raises(Exception, match="is not in"):
        look_up.run({"ids": np.array([[3]], "i4"), "factor": factor})
    assert look_up.run({"ids": np.array([[1]], "i4"), "factor": factor})["sum"] == [5]


def test_nothing_is_cast(look_up: TfExecutor) -> None:
    ids, factor = np.array([[1]], "i4"), np.ones(1, "f4")
    with pytest.raises(TypeError, match="input 'ids' is int64, not int32"):
        look_up.run({"ids": ids.astype("i8"), "factor": factor})
    with pytest.raises(TypeError, match="input 'factor' is float64, not float32"):
        look_up.run({"ids": ids, "factor": factor.astype("f8")})


def test_answers_can_be_kept_and_changed(look_up: TfExecutor) -> None:
    inputs = {"ids": np.array([[1]], "i4"), "factor": np.ones(1, "f4")}
    first = look_up.run(inputs)["rows"]
    first += 1
    np.testing.assert_array_equal(look_up.run(inputs)["rows"], [[[2, 3]]])


def test_an_output_of_another_dtype_than_promised_is_an_exception(write: Write) -> None:
    signature = Signature((TensorSpec("x", "FP32", (1,)),), (TensorSpec("y", "FP64", (1,)),))
    executor = TfExecutor.load(write(lambda x: [x], signature), signature)
    with pytest.raises(TypeError, match="output 'y' is float32, not float64"):
        executor.run({"x": np.ones((1, 1), "f4")})


def test_what_is_no_artefact_is_refused(look_up: TfExecutor, tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="TensorFlow cannot load the artefact"):
        TfExecutor.load(tmp_path / "nowhere", TWO)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(ExecutorError, match="TensorFlow cannot load the artefact"):
        TfExecutor.load(tmp_path / "damaged", TWO)
    fewer = Signature(TWO.inputs[:1], TWO.outputs)
    with pytest.raises(ExecutorError, match="not those of the signature"):
        TfExecutor.load(tmp_path / "artefact", fewer)


def test_it_warms_where_a_free_dimension_of_one_is_too_short(tf: Any, write: Write) -> None:
    signature = Signature((TensorSpec("x", "FP32", (None, 1)),), (TensorSpec("y", "FP32", (None, 1)),))
    kernel = tf.ones([5, 1, 1])
    executor = TfExecutor.load(write(lambda x: [tf.nn.conv1d(x, kernel, 1, "VALID")], signature), signature)
    with pytest.raises(Exception, match="negative"):
        executor.run({"x": np.zeros((1, 1, 1), "f4")})
    executor.warm()


def test_warming_tells_what_never_works(tf: Any, write: Write) -> None:
    for shape in ((None,), (3,)):
        signature = Signature((TensorSpec("x", "FP32", shape),), (TensorSpec("y", "FP32", shape),))
        executor = TfExecutor.load(
            write(lambda x: [tf.debugging.check_numerics(1 / x, "broken")], signature), signature
        )
        with pytest.raises(Exception, match="broken"):
            executor.warm()


def test_it_closes(look_up: TfExecutor) -> None:
    look_up.close()
    assert look_up.signature == TWO
