"""Every hostile model file by itself: what the static check and Keras say of it, and how soon."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.build import BuildError, check_archive
from tests.hostile_models import LOADED, REFUSED

Maker = Callable[[], bytes]
#: Of processor time.
MOST_SECONDS = 5.0


def written(make: Maker, directory: Path) -> Path:
    file = directory / "model.keras"
    file.write_bytes(make())
    return file


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_is_refused_unread(make: Maker, tmp_path: Path) -> None:
    file = written(make, tmp_path)
    began = time.process_time()
    with pytest.raises(BuildError) as caught:
        check_archive(file)
    assert time.process_time() - began < MOST_SECONDS
    assert re.search(REFUSED[make], caught.value.reason), caught.value.reason
    assert len(caught.value.reason) < 300
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


@pytest.fixture(scope="module")
def load() -> Callable[[Path, Path], Any]:
    """Keras, imported, which takes longer than all of the files."""
    from ml.build.keras_model import KerasModel, import_keras

    import_keras()
    return KerasModel.load


@pytest.mark.parametrize("make", LOADED, ids=lambda make: make.__name__)
def test_what_keras_refuses(make: Maker, load: Callable[[Path, Path], Any], tmp_path: Path) -> None:
    file = written(make, tmp_path)
    check_archive(file)
    began = time.process_time()
    with pytest.raises(BuildError) as caught:
        load(file, tmp_path / "saved_model")
    assert time.process_time() - began < MOST_SECONDS
    assert re.search(LOADED[make], caught.value.reason), caught.value.reason
    assert len(caught.value.reason) < 500
