"""What the server takes as a body the document's schema takes, and the other way round."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.openapi import document
from api.openapi.json_schema import NoSchema, field_schema, object_schema
from api.resources import RESOURCES
from ml.catalog import field_issues
from ml.errors import Invalid
from tests.conftest import Api
from tests.snapshots.renew import plain_app

ID = "6b00e4c0d035a01704bf37b4"

#: What POST takes and what it does not, by resource.
CREATED: list[tuple[str, Any]] = [
    *(
        ("inputs", body)
        for body in (
            {"data": 1},
            {"data": 1.5, "tags": ["a", "a"], "meta": {"a": {"b": [1, None, {"c": "d"}]}}},
            {"data": [[1, 2], [3, 4]], "tags": []},
            {"data": True},
            {"data": "text"},
            {"data": [["a", "b"]], "meta": {}},
            {"data": {"a": [1, 2], "b": "x"}},
            {"data": {"dtype": "FP32", "shape": [2], "data": [1, 2]}},
            {"data": {"dtype": "float32", "shape": [1], "data": "AACAPw=="}},
            {"data": {"x": {"dtype": "FP32", "shape": [2], "data": [1, 2]}}},
            {"data": 1, "meta": {"a": 2**63 - 1, "b": -(2**63), "c": 1e300, "d": 0.5}},
            [{"data": 1}, {"data": 2}],
            {},
            [],
            [1],
            "text",
            5,
            {"data": None},
            {"data": []},
            {"data": [[1], []]},
            {"data": [None]},
            {"data": [{"a": 1}]},
            {"data": {}},
            {"data": {"": 1}},
            {"data": {"a.b": 1}},
            {"data": {"$a": 1}},
            {"data": {"a": {"b": 1}}},
            {"data": {"dtype": 5, "shape": [2], "data": [1, 2]}},
            {"data": {"dtype": "FP32", "shape": [0], "data": []}},
            {"data": {"dtype": "FP32", "shape": [1] * 33, "data": [1]}},
            {"data": {"dtype": "FP32", "shape": 2, "data": [1, 2]}},
            {"data": {"dtype": "FP32", "shape": [2], "data": [1, None]}},
            {"data": 1, "model": "a b"},
            {"data": 1, "model": "a" * 65},
            {"data": 1, "model": 5},
            {"data": 1, "tags": "a"},
            {"data": 1, "tags": None},
            {"data": 1, "tags": [""]},
            {"data": 1, "tags": [5]},
            {"data": 1, "tags": ["a" * 201]},
            {"data": 1, "tags": ["a"] * 101},
            {"data": 1, "meta": []},
            {"data": 1, "meta": None},
            {"data": 1, "meta": {"$a": 1}},
            {"data": 1, "meta": {"a": {"b.c": 1}}},
            {"data": 1, "meta": {"a": [{"": 1}]}},
            {"data": 1, "meta": {"a\0": 1}},
            {"data": 1, "meta": {"a": 2**63}},
            {"data": 1, "meta": {"a": [2**64 - 1]}},
            {"data": 1, "owner": "eve"},
            {"data": 1, "source": "rest"},
            {"data": 1, "_id": ID},
            {"data": 1, "_created": "2026-01-01T00:00:00Z"},
            {"data": 1, "_status": "OK"},
            {"data": 1, "other": 1},
            [{"data": 1}, {"dat": 1}],
        )
    ),
    *(
        ("jobs", {"model": "m", **fields})
        for fields in (
            {},
            {"version": 1, "where": {"tags": "a", "meta.a.b": {"$gt": 1}, "$or": [{"model": "m"}]}},
            {"alias": "stable", "inputs": [ID, ID.upper()], "priority": 0},
            {"where": {}, "priority": 9, "follow": True, "max_rows_per_second": 0.5, "max_attempts": 100},
            {"max_rows_per_second": None},
            {"webhook": {"url": "https://example.com/a?b=c%20d", "events": ["failed", "progress"]}},
            {"webhook": {"url": "HTTP://example.com:8080"}},
            {"version": 0},
            {"version": 1.5},
            {"version": "1"},
            {"version": True},
            {"version": 1, "alias": "a"},
            {"alias": "-"},
            {"where": {}, "inputs": [ID]},
            {"where": []},
            {"where": {"nope": 1}},
            {"where": {"$where": "1"}},
            {"where": {"tags.a": {"$foo": 1}, "nope.a": 1}},
            {"inputs": []},
            {"inputs": ["x"]},
            {"inputs": [5]},
            {"inputs": ID},
            {"priority": 10},
            {"priority": -1},
            {"follow": "true"},
            {"follow": None},
            {"max_rows_per_second": 0},
            {"max_attempts": 0},
            {"max_attempts": 101},
            {"webhook": {}},
            {"webhook": "https://example.com"},
            {"webhook": {"url": "ftp://example.com"}},
            {"webhook": {"url": "https://"}},
            {"webhook": {"url": "https://u:p@example.com"}},
            {"webhook": {"url": "https://example.com/#a"}},
            {"webhook": {"url": "https://example.com/" + "a" * 2000}},
            {"webhook": {"url": "https://example.com", "events": []}},
            {"webhook": {"url": "https://example.com", "events": ["failed", "failed"]}},
            {"webhook": {"url": "https://example.com", "events": ["other"]}},
            {"webhook": {"url": "https://example.com", "other": 1}},
            {"status": "queued"},
            {"progress": {}},
            {"model": None},
            {"model": "a/b"},
        )
    ),
    ("jobs", {}),
    ("jobs", [{"model": "m"}, {"model": "n", "inputs": [ID]}]),
]
#: The same of PATCH.
CHANGED: list[tuple[str, Any]] = [
    *(
        ("inputs", body)
        for body in ({"tags": ["a"]}, {"meta": {"a": 1}}, {}, {"data": 1}, {"model": "m"}, {"x": 1}, [])
    ),
    *(
        ("results", body)
        for body in (
            {"truth": "3"},
            {"truth": 3},
            {"truth": 0.5},
            {"truth": False},
            {"truth": None, "note": None},
            {"truth": [1, "a", [True], {"b": 1}], "note": "x"},
            {"truth": {"a": 1}},
            {"truth": [{"$a": 1}]},
            {"truth": 2**63},
            {"truth": [2**63]},
            {"note": 5},
            {"note": "x" * 10_001},
            {"output": {"y": [1]}},
            {"status": "failed"},
        )
    ),
    *(("deliveries", body) for body in ({"status": "queued"}, {"status": "delivered"}, {"status": 5}, {"attempt": 0})),
    *(
        ("jobs", body)
        for body in (
            {"status": "canceled"},
            {"status": "paused", "priority": 3, "max_rows_per_second": None},
            {"status": "running"},
            {"status": None},
            {"priority": None},
            {"model": "other"},
            {"where": {}},
        )
    ),
    *(
        ("models", body)
        for body in (
            {"aliases": ["stable", "a.b"], "classes": ["a", "b"], "description": "x", "batch_window_ms": 2.5},
            {"description": None},
            {"aliases": []},
            {"aliases": ["a", "a"]},
            {"aliases": ["a/b"]},
            {"aliases": "stable"},
            {"classes": ["a", "a"]},
            {"classes": [""]},
            {"batch_window_ms": 1001},
            {"batch_window_ms": -1},
            {"state": "available"},
            {"name": "other"},
        )
    ),
]


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    return document(plain_app())


def accepts(schemas: dict[str, Any], path: str, method: str, body: Any) -> bool:
    schema = schemas["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    return bool(Draft202012Validator({**schema, "components": schemas["components"]}).is_valid(body))


@pytest.mark.parametrize(("resource", "body"), CREATED, ids=lambda value: str(value)[:60])
def test_post(mock_api: Api, schemas: dict[str, Any], resource: str, body: Any) -> None:
    answer = mock_api.post(resource, json=body)
    assert answer.status_code in (201, 404, 422), answer.text  # 404: all is well but there is no such model
    assert accepts(schemas, f"/api/v1/{resource}", "post", body) == (answer.status_code != 422), answer.text


@pytest.mark.parametrize(("resource", "body"), CHANGED, ids=lambda value: str(value)[:60])
def test_patch(
    mock_api: Api, schemas: dict[str, Any], resource: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update(_: Any, service: Any, before: Any, changes: Any, scope: Any, entry: Any) -> Any:
        """What is done with a change that fits is not the matter here; models are checked there once more."""
        issues = field_issues(**{name: changes[name] for name in ("classes", "aliases") if name in changes})
        if issues:
            raise Invalid("the model was not changed", issues)
        return dict(before)

    monkeypatch.setattr(type(RESOURCES[resource]), "update", update)
    service = mock_api.http.application.extensions["service"]
    id_ = service.db[resource].insert_one({"model": "m", "name": "m"}).inserted_id
    answer = mock_api.patch(f"{resource}/{id_}", json=body, headers={"If-Match": "*"})
    assert answer.status_code in (200, 422), answer.text
    assert accepts(schemas, f"/api/v1/{resource}/{{id}}", "patch", body) == (answer.status_code == 200), answer.text


def test_what_a_schema_cannot_say_is_said_in_words(mock_api: Api, schemas: dict[str, Any]) -> None:
    """Where the server asks more than the document's schema: of lengths at each level, of kinds, of what it knows."""
    bodies = (
        {"data": [[1, 2], [3]]},
        {"data": [1, "a"]},
        {"data": {"dtype": "FP32", "shape": [2], "data": "AAAA"}},
        {"data": {"dtype": "FP33", "shape": [2], "data": [1, 2]}},
        {"data": 1, "meta": {"a": "x" * 300_000}},
    )
    for body in bodies:
        assert mock_api.post("inputs", json=body).status_code == 422
        assert accepts(schemas, "/api/v1/inputs", "post", body)
    words = schemas["components"]["schemas"]
    assert "of one length at each level" in words["TensorValues"]["description"]
    assert "all numbers, all strings or all booleans" in words["TensorValues"]["description"]
    assert "BYTES" in words["PackedTensor"]["properties"]["dtype"]["description"]
    assert "256 kB" in words["FreeObject"]["description"]


def test_rules_become_keywords() -> None:
    assert field_schema({"type": "string", "minlength": 1, "maxlength": 3, "regex": r"[a-z]+\Z"}, "create") == {
        "type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]+$",
    }  # fmt: skip
    numbers = {"type": "list", "minlength": 1, "maxlength": 3, "distinct": True, "schema": {"type": "integer"}}
    assert field_schema(numbers, "create") == {
        "type": "array", "minItems": 1, "maxItems": 3, "uniqueItems": True, "items": {"type": "integer"},
    }  # fmt: skip
    assert field_schema({"type": "integer", "min": 1, "max": 2, "nullable": True}, "create") == {
        "type": ["integer", "null"], "minimum": 1, "maximum": 2,
    }  # fmt: skip
    assert field_schema({"type": "string", "allowed": ["a"], "nullable": True}, "create")["enum"] == ["a", None]
    assert field_schema({"type": "objectid", "nullable": True}, "create") == {
        "anyOf": [{"$ref": "#/components/schemas/ObjectId"}, {"type": "null"}]
    }


def test_a_stored_document_need_not_obey_what_may_be_sent() -> None:
    rules = {"type": "string", "maxlength": 3, "regex": "a", "allowed": ["a"]}
    assert field_schema(rules, "stored") == {"type": "string", "enum": ["a"]}


def test_each_form_has_its_fields() -> None:
    schema = {
        "given": {"type": "string", "required": True, "immutable": True},
        "changed": {"type": "string", "on_update_only": True},
        "made": {"type": "string", "readonly": True},
        "free": {"type": "string", "excludes": "given"},
    }
    create, change = object_schema(schema, "create"), object_schema(schema, "change")
    assert (set(create["properties"]), create["required"]) == ({"given", "free"}, ["given"])
    assert create["not"] == {"required": ["free", "given"]}
    assert (set(change["properties"]), change.get("required")) == ({"changed", "free"}, None)
    assert set(object_schema(schema, "stored")["properties"]) == set(schema)


@pytest.mark.parametrize(
    "rules", [{"type": "set"}, {"type": "string", "contains": "a"}, {"type": ["string", "objectid"]}]
)
def test_what_has_no_counterpart_is_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(NoSchema, match=r"api/openapi/json_schema\.py"):
        field_schema(rules, "create")
