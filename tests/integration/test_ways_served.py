"""What a replica runs a version by: the best of what is proven and can be had there, or what is forced."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.database.blobs import Blobs
from ml.database.client import database_of
from ml.errors import ModelNotAvailable
from ml.processor import here
from ml.service import Prediction, Service

ROOT = Path(__file__).resolve().parents[2]
ASKED = Prediction(model="sums", instances=[[1, 2, 3]])


@pytest.fixture
def make(client: Any, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made = []

    def service(**kwargs: Any) -> Service:
        made.append(Service(database_of(client), tmp_path / f"cache-{len(made)}", **kwargs))
        return made[-1]

    yield service
    for one in made:
        one.close()


@pytest.fixture
def ways(client: Any, stub: Callable[..., Any]) -> None:
    """A version whose best way is an artefact that TensorFlow cannot read, and its second one that answers."""
    stub(client)
    found = [{"executor": kind, "threads": 1} for kind in ("tf", "stub")]
    changes = {"executor": "tf", "artefacts.tf": "$artefacts.stub", "build": {"ways": found, "processor": here()}}
    database_of(client)["models"].update_one({}, [{"$set": changes}])


@pytest.mark.usefixtures("ways")
def test_the_next_best_is_taken_where_the_best_does_not_load_and_results_say_which(
    make: Callable[..., Service], client: Any
) -> None:
    service = make()
    assert service.predict(ASKED).outputs["y"].tolist() == [[6, 7]]
    assert database_of(client)["results"].find_one()["executor"] == "stub"  # type: ignore[index]


@pytest.mark.usefixtures("ways")
def test_one_that_is_forced_is_not_replaced(make: Callable[..., Service]) -> None:
    with pytest.raises(ModelNotAvailable, match="TensorFlow cannot load the artefact"):
        make(executor="tf").predict(ASKED)
    assert make(executor="stub").predict(ASKED).outputs["y"].tolist() == [[6, 7]]
    with pytest.raises(ModelNotAvailable, match="ALMANAC_EXECUTOR asks for 'onnx'; proven are: tf, stub"):
        make(executor="onnx").predict(ASKED)


#: A replica in which importing TensorFlow, Keras or OpenVINO fails, as where they are not installed.
REPLICA = """
import json, sys
from pathlib import Path
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "openvino"):
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, NotInstalled())
from ml.database.client import connect, database_of
from ml.service import Prediction, Service
client = connect(sys.argv[1])
service = Service(database_of(client), Path(sys.argv[2]))
answer = service.predict(Prediction(model="m", instances=json.loads(sys.argv[3]), store="none"))
live = service.registry.resolve("m")
service.close()
client.close()
print(json.dumps({"outputs": [values.tolist() for values in answer.outputs.values()], "executor": live.executor}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small model, and its build."""
    from ml.build import build_model
    from ml.build.keras_model import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, activation="softmax")])
    directory = tmp_path_factory.mktemp("built")
    model.save(directory / "model.keras")
    return model, build_model(directory / "model.keras", directory, seconds=120, memory_mb=4000)


def test_a_replica_without_tensorflow_serves_what_was_found_quickest_with_it(
    client: Any, mongod: str, tmp_path: Path, built: Any
) -> None:
    model, report = built
    db = database_of(client)
    artefacts = {kind: Blobs(db).put_directory(path, f"{kind}.tar") for kind, path in report.artefacts.items()}
    slow_here = sorted(report.ways, key=lambda way: way["executor"] != "tf")
    document = {
        "name": "m",
        "version": 1,
        "state": "available",
        "executor": "tf",
        "artefacts": artefacts,
        **report.signature.to_document(),
        "build": {"ways": slow_here, "processor": here()},
    }
    db["models"].insert_one(document)
    rows = [[0.1, -2.0, 3.0, 0.5], [1.0, 1.0, 1.0, 1.0]]
    command = [sys.executable, "-c", REPLICA, mongod, str(tmp_path / "cache"), json.dumps(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["executor"] == "onnx"
    import numpy as np

    np.testing.assert_allclose(answer["outputs"][0], model.predict(np.array(rows, "f4"), verbose=0), atol=1e-5)
