"""What is common to all executors: one file each, found by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.executors import KINDS, executor_class, load_executor
from ml.executors.base import ExecutorError
from ml.signature import Signature, TensorSpec
from settings import Settings

SIGNATURE = Signature((TensorSpec("x", "FP32", (3,)),), (TensorSpec("y", "FP32", (2,)),))


def test_every_file_is_an_executor_of_its_name() -> None:
    assert set(KINDS) >= {"onnx", "openvino", "stub", "tf"}
    assert [executor_class(kind).name for kind in KINDS] == list(KINDS)


def test_all_that_builds_make_can_be_forced() -> None:
    built = {kind for kind in KINDS if executor_class(kind).built}
    for kind in built:
        assert Settings(executor=kind, _env_file=None).executor == kind
    with pytest.raises(ValueError, match="executor"):
        Settings(executor="stub", _env_file=None)


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 12, 64])
def test_the_numbers_of_threads_that_are_tried_are_few_and_fit_the_machine(cores: int) -> None:
    for kind in KINDS:
        counts = executor_class(kind).thread_counts(cores)
        assert list(counts) == sorted(set(counts))
        assert 1 <= len(counts) <= 5
        assert counts[-1] <= cores


def test_one_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="there is no executor 'odd'; there are: onnx, openvino, stub, tf"):
        load_executor("odd", tmp_path, SIGNATURE)


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_artefact_that_cannot_be_read_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="cannot load the graph"):
        load_executor(kind, tmp_path, SIGNATURE)


def test_openvino_runs_no_strings(tmp_path: Path) -> None:
    text = Signature((TensorSpec("text", "BYTES", (1,)),), SIGNATURE.outputs)
    with pytest.raises(ExecutorError, match=r"OpenVINO runs no strings, and 'text' is BYTES\[1\]"):
        load_executor("openvino", tmp_path, text)
