"""A client that is generated from the OpenAPI document registers a model, predicts with it and runs a job."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from ml.database.blobs import Blobs
from ml.database.client import database_of
from tests.end_to_end.almanac import Almanac
from tests.waiting import until

#: No formatting of what is thrown away; and .npy is bytes, as is what may be of any type: the generator cannot know.
BYTES = dict.fromkeys(("application/x-npy", "*/*"), "application/octet-stream")
CONFIG = {"post_hooks": [], "content_type_overrides": BYTES}
PACKAGE = "almanac_client"


@pytest.fixture
def generated(digits: Almanac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the package that is generated from what the server says of itself."""
    document, config = tmp_path / "openapi.json", tmp_path / "config.json"
    document.write_bytes(requests.get(f"{digits.url}/openapi.json", timeout=30).content)
    config.write_text(json.dumps(CONFIG))
    made = subprocess.run(
        [
            str(Path(sys.executable).with_name("openapi-python-client")),
            *("generate", "--path", str(document), "--config", str(config)),
            *("--meta", "none", "--output-path", str(tmp_path / PACKAGE), "--fail-on-warning"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "WARNING" not in made.stdout + made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda module: importlib.import_module(f"{PACKAGE}.{module}")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def keras_file(digits: Almanac, tmp_path: Path) -> Path:
    """The file that the digits were registered from."""
    with digits.database() as client:
        db = database_of(client)
        model = db["models"].find_one({"name": "digits", "version": 1})
        assert model is not None
        Blobs(db).fetch(model["file"], tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_it_registers_a_model_predicts_and_runs_a_job(digits: Almanac, generated: Any, keras_file: Path) -> None:
    models, types = generated("models"), generated("types")
    client = generated("client").AuthenticatedClient(
        base_url=digits.url,
        token=digits.headers["Authorization"].removeprefix("Bearer "),
        raise_on_unexpected_status=True,
        timeout=60,
    )

    def call(operation: str, *path: Any, **arguments: Any) -> Any:
        answer = generated(f"api.{operation}").sync(*path, client=client, **arguments)
        assert not isinstance(answer, models.Error), answer
        return answer

    body = models.RegisterModelBody(
        name="generated",
        file=types.File(payload=io.BytesIO(keras_file.read_bytes()), file_name="model.keras"),
        classes="zero,one,two,three,four,five,six,seven,eight,nine",
        aliases='["stable"]',
    )
    model = call("models.register_model", body=body)
    assert (model.name, model.version, model.state) == ("generated", 1, models.ModelState.LOADING)
    until(lambda: call("models.get_model", model.field_id).state != models.ModelState.LOADING, 120, "it is built")
    assert call("models.get_model", model.field_id).state == models.ModelState.AVAILABLE

    listed = call("inputs.list_inputs", where='{"source": {"$ne": "predict"}}', sort="_id", max_results=3).field_items
    rows = [item.data for item in listed]
    meta = [models.FreeObject.from_dict({"number": number}) for number in range(3)]
    predicted = call("predict.predict", "generated", body=models.PredictRows(instances=rows, meta=meta))
    assert (predicted.model, predicted.version, len(predicted.predictions)) == ("generated", 1, 3)
    result = call("results.get_result", predicted.predictions[2].field_id)
    assert (result.label, result.meta["number"]) == (predicted.predictions[2].label, 2)

    job = call(
        "jobs.create_jobs",
        body=models.JobCreate(model="generated", alias="stable", inputs=[item.field_id for item in listed]),
    )
    ended = call("jobs.get_job", job.field_id, prefer="wait=60")
    assert (ended.status, ended.progress.done, ended.progress.failed) == (models.JobStatus.SUCCEEDED, 3, 0)
    found = call("results.list_results", where=json.dumps({"job": job.field_id}), sort="input", count=True)
    assert found.field_meta.total == 3
    assert [item.label for item in found.field_items] == [prediction.label for prediction in predicted.predictions]

    assert generated("api.models.delete_model").sync_detailed(
        model.field_id, client=client, if_match=f'"{call("models.get_model", model.field_id).field_etag}"'
    ).status_code == 204  # fmt: skip
