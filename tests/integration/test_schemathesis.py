"""Requests made from the OpenAPI document, right and wrong ones, on every operation: the server keeps to its document.

TEST_EXAMPLES sets how many are drawn for an operation, beside those at the edges of what its schemas allow;
TEST_OPERATIONS, a pattern of their labels such as `POST /api/v1/`, which operations are asked.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import schemathesis
from argon2 import PasswordHasher
from bson import ObjectId
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.generation.hypothesis.examples import generate_one
from schemathesis.specs.openapi import checks

from api.dialects.replicate.create import SANE_ID
from api.openapi import document
from ml.database.client import database_of
from ml.database.documents import now, stamp_new
from ml.identity import passwords
from ml.uploads import FILES, KEPT
from tests.conftest import ADMIN_KEY, Api
from tests.integration.dialects import SPOKEN, spoken_at
from tests.integration.rest import Client

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "20"))
ASKED = re.compile(os.environ.get("TEST_OPERATIONS", ""))
#: Who asks: the administrator, or for example `user:eve`.
CALLER = os.environ.get("TEST_CALLER", ADMIN_KEY)
#: That of a stored row in the examples.
ID = "6b00e4c0d035a01704bf37b4"
#: What the parts of a path are where they are right: random ones lead nowhere.
THERE = {"id": ID, "name": "iris", "version": 1, "alias": "stable", "version_id": "iris:1", "prediction": ID}
#: What an id of one's own may be.
OWN_ID = f"^{SANE_ID.pattern}$"
#: The model that the examples of the document are about.
IRIS: dict[str, Any] = {
    "name": "iris",
    "inputs": [{"name": "measures", "dtype": "FP32", "shape": [4]}],
    "outputs": [{"name": "y", "dtype": "FP32", "shape": [3]}],
    "classes": ["setosa", "versicolor", "virginica"],
}
AN_UPLOAD = {"filename": "f", "contentType": "image/png", "length": 0, "chunkSize": 1, "sha256": "", "given": "{}"}
#: How much of a body in KServe's protocol is JSON, and what comes after it tensors.
BINARY_FROM = "Inference-Header-Content-Length"
#: What cannot succeed here: no drawn file is a model, and the service is not started.
NEVER_RIGHT = {"POST /api/v1/models", "GET /health/ready", "GET /v2/health/ready"}.union(
    *(getattr(spoken, "NEVER_RIGHT", ()) for spoken in SPOKEN.values())
)
CHECKS = [
    schemathesis.checks.not_a_server_error,  # the first: see where a 504 comes
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
]


@schemathesis.serializer("application/x-npy")
def as_it_is(_: Any, value: Any) -> bytes:
    """No schema says more of .npy than that it is bytes."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


MODES = list(GenerationMode)


@pytest.fixture
def described(api: Api, client: Client, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The document, its paths leading to what there is. Passwords cost next to nothing."""
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    monkeypatch.setattr(passwords, "ESTIMATED", 12)
    stub(client, **IRIS, aliases={"stable": 1})
    app = api.http.application
    with app.app_context():
        made = deepcopy(document(app, "iris"))
    # It leaves out aliases, which may mean other versions; here they do not.
    made["paths"] = {**deepcopy(document(app)["paths"]), **made["paths"]}
    # Whose a model is said to be is not looked at: whatever is drawn for it is right.
    made["paths"] = {path.replace("{owner}", "admin"): item for path, item in made["paths"].items()}
    for item in made["paths"].values():
        item["parameters"] = [one for one in item.get("parameters", []) if one.get("name") != "owner"]
        for parameter in item["parameters"]:
            if parameter.get("in") == "path":
                parameter["schema"] = {"enum": [THERE[parameter["name"]]]}
    # What is made under an id of one's own is made under any.
    own = {"name": "prediction", "in": "path", "required": True, "schema": {"type": "string", "pattern": OWN_ID}}
    made["paths"]["/v1/predictions/{prediction}"]["put"].setdefault("parameters", []).append(own)
    # A tag that is drawn is never that of the document.
    made["components"]["parameters"]["If-Match"]["schema"] = {"enum": ["*", '"8ff0cf3e51a24e3dbb5a3e3c"']}
    # OpenAPI 3.1 describes a stream of events as one string, schemathesis wants the schema of an event.
    for stream in ("/api/v1/jobs/{id}/events", "/v1/predictions/{prediction}/stream"):
        del made["paths"][stream]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    # Nobody works here: to wait is in vain.
    del made["components"]["parameters"]["Prefer-Prediction"]["examples"]
    # Lists that are one id too long take long to draw.
    del made["components"]["schemas"]["JobCreate"]["properties"]["inputs"]["maxItems"]
    schema = schemathesis.openapi.from_dict(made, config=SchemathesisConfig(seed=1))
    schema.app = app
    # The key is sent with every request.
    schema.config.generation.update(with_security_parameters=False)
    refusals = ["400", "403", "404", "405", "409", "412", "413", "415", "422", "428"]
    schema.config.checks.negative_data_rejection.expected_statuses = refusals
    schema.config.checks.missing_required_header.expected_statuses = refusals
    return schema


@pytest.mark.timeout(600 + 10 * EXAMPLES)
def test_what_is_asked_is_answered_as_documented(described: Any, client: Client, subtests: pytest.Subtests) -> None:
    for result in described.get_all_operations():
        operation = result.ok()
        if not ASKED.search(operation.label):
            continue
        with subtests.test(operation.label):
            wrong = wrong_answers(operation, client)
            assert not wrong, "\n\n".join(wrong)


def wrong_answers(operation: Any, client: Client) -> list[str]:
    """What an operation answers that is not documented, or accepts that is not allowed: one of each kind."""
    wrong: dict[str, str] = {}
    statuses: set[int] = set()
    # Models that were drawn before have names that are wrong ones here.
    database_of(client)["models"].delete_many({"name": {"$ne": IRIS["name"]}})
    operation.schema.app.extensions["service"].registry.refresh()

    def ask(case: schemathesis.Case) -> None:
        if "?" in case.formatted_path:  # what comes after it is no part of the path
            return
        put_back(operation, client)
        try:
            # A form has nothing but texts: a number that is sent where a text should be is one. And where no part of a
            # body is JSON, whatever it is can be the bytes of a tensor.
            anything = case.media_type == "multipart/form-data" or case.headers.get(BINARY_FROM) == "0"
            checked = CHECKS[:-2] if anything else CHECKS
            status = 0
            response = case.call(headers={"Authorization": f"Bearer {CALLER}"})
            statuses.add(status := response.status_code)
            # A deadline that is drawn may be too short for a machine that has more to do.
            case.validate_response(response, checks=checked[1:] if status == 504 else checked)
        except FailureGroup as failures:
            # Nothing is raised: drawing goes on, since there is nothing to shrink.
            wrong.update(
                (failure.title, f"{status}: {failure}\n{case.as_curl_command()[:2000]}")
                for failure in failures.exceptions
            )

    for case in at_the_edges(operation):
        ask(case)
    spoken = spoken_at(operation.path)
    # What a version is asked is read by the same view, and drawn for that, where the dialect says so.
    if not any(part in operation.path for part in getattr(spoken, "ALIKE", ())):
        drawn(operation)(ask)()
    if CALLER == ADMIN_KEY and operation.label not in NEVER_RIGHT and not statuses & {200, 201, 202, 204}:
        wrong["no success"] = f"nothing that was asked was right: {sorted(statuses)}"
    return list(wrong.values())


def at_the_edges(operation: Any) -> list[schemathesis.Case]:
    """The examples of the document, and of what is just within and beyond its limits a fifth as many as are drawn."""
    examples = map(generate_one, operation.get_strategies_from_examples())
    edges = list(
        operation.schema.iter_coverage_cases(
            operation, generation_modes=MODES, generation_config=operation.schema.config.generation
        )
    )
    return [*examples, *edges[:: math.ceil(5 * len(edges) / EXAMPLES) or 1]]


def drawn(operation: Any) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Runs a function over requests that are drawn, half of them wrong; the same in every run."""
    strategy = st.one_of([operation.as_strategy(generation_mode=mode) for mode in MODES])
    varies = len(operation.body) or len(operation.query)  # there is little to be drawn of a path
    options = settings(
        max_examples=EXAMPLES if varies else -(-EXAMPLES // 5),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda function: options(given(strategy)(function))


def put_back(operation: Any, client: Client) -> None:
    """The document that the path, or an example of predict, leads to, as it is before each request."""
    db, id_ = database_of(client), ObjectId(ID)
    making = operation.method.lower() == "put"
    if making:  # which makes what is not there
        db["jobs"].delete_many({})
    if "{prediction}" in operation.path and not making:
        resource = "jobs"
    elif "{id}" in operation.path or operation.path.endswith("/predict"):
        resource = "inputs" if operation.path.endswith("/predict") else operation.path.split("/")[3]
    else:
        return
    if operation.path.startswith("/v1/files/"):
        resource = FILES
    fields: dict[str, Any] = {
        "models": {**IRIS, "version": 2, "state": "failed", "digest": "0" * 64, "error": "no model"},
        "inputs": {"data": [5.1, 3.5, 1.4, 0.2]},
        "results": {"input": id_, "output": {"y": [1.0]}, "model": "iris", "version": 1, "status": "succeeded"},
        # One that has ended: the events of another would go on.
        "jobs": {"model": "iris", "version": 1, "status": "succeeded", "fence": 0, "protocol": "replicate"},
        "keys": {"role": "user", "owner": "scanner", "prefix": "alm_Zx0f", "hash": "0" * 64},
        "users": {"name": "kept", "role": "user", "password_hash": "none"},
        "deliveries": {"job": id_, "event": "succeeded", "url": "http://a.example", "status": "failed", "attempt": 12},
        FILES: {**AN_UPLOAD, "expires": now() + KEPT},
        "audit": {"action": "change", "resource": "inputs", "by": {"owner": "admin", "role": "admin", "via": "key"}},
    }[resource]
    db[resource].replace_one({"_id": id_}, stamp_new({"_id": id_, **fields}, "admin"), upsert=True)
