"""The OpenAPI document says what the application is, and a test fails where it does not."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eve import Eve
from flask import Blueprint, Response
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.dialects import DIALECTS
from api.openapi import document, undescribed
from api.openapi.assembly import VERSION
from api.openapi.describe import ATTRIBUTE, Answer, Operation, describes, named, no_operation
from api.openapi.paths import Undescribed, methods_of, path_of
from api.openapi.shared import BASIC, BEARER
from api.resources import RESOURCES
from api.resources.base import Resource, described
from tests.snapshots.renew import OPENAPI, openapi_text, plain_app

METHODS = {"get", "post", "patch", "put", "delete"}


@pytest.fixture(scope="module")
def app() -> Eve:
    return plain_app()


@pytest.fixture(scope="module")
def openapi(app: Eve) -> dict[str, Any]:
    return document(app)


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in openapi["paths"].items():
        for method in item.keys() & METHODS:
            yield path, method, item[method]


def test_it_is_valid(openapi: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(openapi).validate()
    assert json.loads(json.dumps(openapi, allow_nan=False)) == openapi


def test_it_is_what_somebody_looked_at() -> None:
    assert openapi_text() == OPENAPI.read_text(), (
        "the OpenAPI document is another than tests/snapshots/openapi.json: if that is meant, run "
        "`python -m tests.snapshots.renew` and look at the diff: it is what clients see"
    )


#: Pages for people, and what they are made of.
PAGES = (
    "docs.",
    "static_files.",
    "log_in.",
    "browse.",
    "overview.",
    "models_page.",
    "model_page.",
    "truth_page.",
    "try_page.",
    "jobs_page.",
    "job_page.",
    "results_page.",
    "result_page.",
)


def test_everything_is_described(app: Eve) -> None:
    assert undescribed(app) == []


def test_every_rule_and_method_is_an_operation(app: Eve, openapi: dict[str, Any]) -> None:
    found = {
        (path_of(rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in methods_of(rule)
        # what is marked as none
        if getattr(app.view_functions[rule.endpoint], ATTRIBUTE, None) != {} and not rule.endpoint.startswith(PAGES)
    }
    assert {(path, method) for path, method, _ in operations(openapi)} == found
    assert len(found) >= 34


def test_the_version_is_that_of_the_project(openapi: dict[str, Any]) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert openapi["info"]["version"] == VERSION == project["version"]


def test_names_are_for_clients_that_are_generated(openapi: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(openapi)]
    assert len(set(ids)) == len(ids)
    assert [name for name in ids if not re.fullmatch(r"[a-z][A-Za-z]{2,30}", name)] == []
    assert {tag["name"] for tag in openapi["tags"]} == {
        tag for _, _, operation in operations(openapi) for tag in operation["tags"]
    }
    assert all(operation["summary"] and operation["responses"] for _, _, operation in operations(openapi))


def test_lists_say_what_is_in_them(openapi: dict[str, Any]) -> None:
    """Generators of clients leave out what has a list without."""

    def lists(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "array" in (value.get("type") if isinstance(value.get("type"), list) else [value.get("type")]):
                yield value
            value = list(value.values())
        if isinstance(value, list):
            for inner in value:
                yield from lists(inner)

    found = list(lists(openapi["components"]["schemas"]))
    assert len(found) > 20
    assert [schema for schema in found if "items" not in schema] == []


def test_only_what_is_public_needs_no_key(openapi: dict[str, Any]) -> None:
    assert openapi["security"] == [{BEARER: []}, {BASIC: []}]
    open_ = {path: operation["security"] for path, _, operation in operations(openapi) if "security" in operation}
    health = {f"{prefix}/health/{kind}": [] for prefix in ("", "/v2") for kind in ("live", "ready")}
    assert open_ == {**health, "/openapi.json": [{}, {BEARER: []}, {BASIC: []}]}
    for path, _, operation in operations(openapi):
        assert ("401" in operation["responses"]) == (path not in health)


def test_every_answer_has_the_requests_id(openapi: dict[str, Any]) -> None:
    for path, _, operation in operations(openapi):
        assert {"$ref": "#/components/parameters/X-Request-ID"} in openapi["paths"][path]["parameters"]
        for response in operation["responses"].values():
            assert "$ref" in response or "X-Request-ID" in response["headers"]


def test_writes_need_if_match(openapi: dict[str, Any]) -> None:
    for path, method, operation in operations(openapi):
        if any(dialect.owns(path) for dialect in DIALECTS):
            continue  # their clients know nothing of it
        named = {"$ref": "#/components/parameters/If-Match"} in operation.get("parameters", [])
        assert named == (method in ("patch", "delete"))
        assert named == ("428" in operation["responses"]) == ("412" in operation["responses"])


def test_keyed_posts_are_told(openapi: dict[str, Any]) -> None:
    keyed = {
        operation["operationId"]
        for _, _, operation in operations(openapi)
        if {"$ref": "#/components/parameters/Idempotency-Key"} in operation.get("parameters", [])
    }
    assert keyed == {"predict", "predictWithVersion", "predictWithAlias", "createInputs", "createJobs"}


def examples(openapi: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Where each example of a body is, its schema, and itself."""

    def of(place: str, content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
        for kind, media in content.items():
            if "example" in media:
                yield f"{place} {kind}", media["schema"], media["example"]
            for name, example in media.get("examples", {}).items():
                yield f"{place} {kind} {name}", media["schema"], example["value"]

    for _, _, operation in operations(openapi):
        yield from of(operation["operationId"], operation.get("requestBody", {}).get("content", {}))
        for status, response in operation["responses"].items():
            yield from of(f"{operation['operationId']} {status}", response.get("content", {}))
        for parameter in operation.get("parameters", []):
            if "example" in parameter:
                yield f"{operation['operationId']} {parameter['name']}", parameter["schema"], parameter["example"]
    for name, response in openapi["components"]["responses"].items():
        yield from of(name, response["content"])


def test_examples_fit_their_schemas(openapi: dict[str, Any]) -> None:
    count = 0
    for place, schema, example in examples(openapi):
        validator = Draft202012Validator({**schema, "components": openapi["components"]})
        assert [error.message for error in validator.iter_errors(example)] == [], place
        if "contentSchema" in schema:
            inner = Draft202012Validator({**schema["contentSchema"], "components": openapi["components"]})
            inner.validate(json.loads(example))
        count += 1
    assert count > 60


def test_bodies_have_examples(openapi: dict[str, Any]) -> None:
    errors = [dialect.error_schema for dialect in DIALECTS]
    for _, _, operation in operations(openapi):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            media = body.get("content", {}).get("application/json")
            if media is not None and operation["operationId"] != "getOpenapi":
                is_error = media["schema"] in ({"$ref": "#/components/schemas/Error"}, *errors)
                assert is_error or media.get("examples"), operation["operationId"]


def with_route(monkeypatch: pytest.MonkeyPatch, view: Any, rule: str = "/api/v1/fresh") -> Eve:
    blueprint = Blueprint("fresh", __name__)
    blueprint.route(rule, methods=["GET", "PUT"])(view)
    made = plain_app()
    made.register_blueprint(blueprint)
    return made


def test_a_route_that_is_not_described_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def view() -> Response:
        return Response()

    made = with_route(monkeypatch, view)
    (get, put) = undescribed(made)
    assert get.startswith("GET /api/v1/fresh (tests.unit.test_openapi_document.")
    assert put.startswith("PUT /api/v1/fresh")
    assert "@describes(Operation(...))" in get
    assert "/api/v1/fresh" not in document(made)["paths"]
    describes(Operation(id="fresh", tag="health", summary="x", answers={200: Answer("x")}), "GET")(view)
    (put,) = undescribed(made)
    assert put.startswith("PUT /api/v1/fresh")
    assert document(made)["paths"]["/api/v1/fresh"]["get"]["operationId"] == "fresh"


def test_a_route_that_is_no_operation_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    @no_operation
    def view() -> Response:
        return Response()

    made = with_route(monkeypatch, view)
    assert undescribed(made) == []
    assert "/api/v1/fresh" not in document(made)["paths"]


def test_a_tag_or_a_part_of_a_path_that_is_not_described_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    @describes(Operation(id="fresh", tag="nothing", summary="x", answers={200: Answer("x")}))
    def view(thing: str) -> Response:
        return Response()

    found = undescribed(with_route(monkeypatch, view, "/api/v1/fresh/<thing>"))
    assert any("the tag 'nothing' is not among TAGS" in message for message in found)
    assert any("'thing' in the path is not described: add it to PATH" in message for message in found)


class Bare(Resource):
    """As somebody would write it who thinks of Eve alone."""

    name = "notes"
    schema = {
        "text": {"type": "string"},
        "place": {"type": "dict", "schema": {"page": {"type": "integer"}}},
        "seen": {"type": "boolean", **described("Whether somebody read it.")},
    }


def test_a_resource_that_is_not_described_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RESOURCES, "notes", Bare())
    made = plain_app()
    found = undescribed(made)[:6]
    assert [re.findall(r"has no `?(\w+)`?|field '([\w.]+)'", message)[0] for message in found] == [
        ("singular", ""), ("about", ""), ("example", ""), ("", "text"), ("", "place"), ("", "place.page"),
    ]  # fmt: skip
    assert all("api/resources/: Bare" in message for message in found)
    with pytest.raises(Undescribed, match="api/resources/: Bare has no `singular`"):
        document(made)


def test_a_resource_that_is_described_is_there_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Notes(Bare):
        singular = "note"
        about = "What somebody noted."
        example = {"_id": "0" * 24, "text": "x", "_created": "x", "_updated": "x", "_etag": "x"}
        schema = {"text": {"type": "string", "required": True, **described("What is noted.")}}
        resource_methods = ["GET", "POST"]

    monkeypatch.setitem(RESOURCES, "notes", Notes())
    made = plain_app()
    assert undescribed(made) == []
    found = document(made)
    OpenAPIV31SpecValidator(found).validate()
    assert set(found["paths"]["/api/v1/notes"]) == {"parameters", "get", "post"}
    assert found["components"]["schemas"]["NoteCreate"] == {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "What is noted."}},
        "required": ["text"],
        "additionalProperties": False,
    }


def test_a_rule_without_a_counterpart_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Notes(Bare):
        singular, about, example = "note", "A note.", {"_id": "0" * 24}
        schema = {"text": {"type": "string", "contains": "x", **described("What is noted.")}}

    monkeypatch.setitem(RESOURCES, "notes", Notes())
    message = undescribed(plain_app())[0]
    assert "'contains'" in message
    assert "api/openapi/json_schema.py" in message


def test_a_field_that_is_not_described_is_told_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Notes(Bare):
        singular, about, example = "note", "A note.", {"_id": "0" * 24}

    monkeypatch.setitem(RESOURCES, "notes", Notes())
    made = plain_app()
    assert [re.findall(r"field '([\w.]+)'", message) for message in undescribed(made)] == [
        ["text"], ["place"], ["place.page"],
    ]  # fmt: skip
    assert "text" in document(made)["components"]["schemas"]["Note"]["properties"]


def test_two_schemas_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="two schemas are called Error"):
        named("Error", {"type": "string"})


def test_a_setting_that_opens_metrics_shows() -> None:
    made = plain_app()
    made.extensions["public"] |= {"metrics.metrics"}
    metrics = document(made)["paths"]["/metrics"]["get"]
    assert metrics["security"] == []
    assert "401" not in metrics["responses"]
