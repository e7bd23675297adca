"""Every route and method, as every kind of caller: nothing of one owner is seen, counted or changed by another.

The table is in everyone.py; a rule of the application that it does not have fails the first test.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator

import pytest
from bson import ObjectId
from werkzeug.test import TestResponse

from ml.identity.keys import create_key
from tests.conftest import Api
from tests.integration.dialects import spoken_at
from tests.integration.everyone import CALLERS, IDS, LINES, MARK, OWNED, Line, World, path_of, plain, resource_of
from tests.integration.rest import NDJSON, ROW, Client

#: How many documents of an owned resource each sees: one of alice's and one of bob's.
SEEN = {"alice": 1, "bob": 1, "reader": 1, "editor": 0, "admin": 2}


@pytest.fixture(scope="module")
def world(_client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(_client, tmp_path_factory.mktemp("matrix"))
    yield made
    made.service.close()


def test_the_table_has_every_rule_and_method(world: World) -> None:
    there = {
        f"{method} {plain(rule)}"
        for rule in world.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    listed = {f"{line.method} {line.rule}" for line in LINES}
    assert there - listed == set(), "say in TABLE who may do this, and how others are answered"
    assert listed - there == set(), "TABLE has what is not there"


@pytest.mark.parametrize("line", LINES, ids=str)
def test_each_is_answered_as_the_table_says(world: World, line: Line) -> None:
    resource = resource_of(line.rule)
    one = any(f"<{name}>" in line.rule for name in IDS)
    base = world.stored()
    for caller, code in line.codes.items():
        ids = {resource: world.target(resource)["_id"]} if one else {}
        before = world.stored()
        answer = world.send(line, caller, ids)
        assert answer.status_code == code, (str(line), caller, answer.text)
        after = world.stored()
        if code >= 400:
            assert after == before, f"{line} by {caller} is refused, and does something"
        if code >= 400 or caller in ("bob", "editor"):
            assert MARK.encode() not in answer.data or resource == "models", f"{line} tells {caller} of alice's"
        told = len(after["audit"]) - len(before["audit"])
        assert told == (code < 300 and is_audited(line)), f"{line} by {caller}: {told} entries in the audit"
        if code < 300 and one and line.method in ("PATCH", "DELETE"):
            assert after[resource] != before[resource], f"{line} by {caller} is answered, and does nothing"
        if line.method == "GET":
            head = world.send(Line("HEAD", line.rule, line.variant, {}), caller, ids)
            assert head.status_code == code, (str(line), caller)
        options = world.send(Line("OPTIONS", line.rule, "", {}), caller, ids)
        assert options.status_code == options_code(line.rule, caller), (line.rule, caller)
        if after != base:
            world.clear(base)


def is_audited(line: Line) -> bool:
    """Reads are not, nor are predictions, whose results are their record; a prediction for later makes a job."""
    spoken = spoken_at(line.rule)
    if spoken is not None:  # other servers' protocols predict and tell, and most do nothing else
        return f"{line.method} {line.rule}" in getattr(spoken, "AUDITED", ())
    return line.method != "GET" and (not line.rule.endswith("/predict") or line.variant == "later")


def options_code(rule: str, caller: str) -> int:
    """OPTIONS is for who may do anything there."""
    codes = {line.codes[caller] for line in LINES if line.rule == rule}
    return next((code for code in (401, 403) if codes == {code}), 200)


@pytest.mark.parametrize("caller", CALLERS)
def test_other_methods_are_nobodys(world: World, caller: str) -> None:
    there: dict[str, set[str]] = {}
    for rule in world.app.url_map.iter_rules():
        there.setdefault(plain(rule), set()).update(rule.methods or ())
    for rule, methods in there.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
            answer = getattr(world.callers[caller], method.lower())(path_of(rule, ObjectId()))
            assert answer.status_code == (401 if caller == "nobody" else 405), (method, rule, answer.text)


@pytest.mark.parametrize("resource", OWNED)
@pytest.mark.parametrize("caller", SEEN)
def test_what_is_listed_counted_embedded_and_streamed(world: World, caller: str, resource: str) -> None:
    asked = world.callers[caller]
    embedded = {"embedded": '{"input": 1, "job": 1}'} if resource == "results" else {}
    listed = asked.get(resource, query_string={"count": "true", **embedded})
    streamed = asked.get(resource, query_string=embedded, headers=NDJSON)
    assert listed.json["_meta"]["total"] == len(listed.json["_items"]) == len(streamed.text.splitlines())
    assert listed.json["_meta"]["total"] == SEEN[caller]
    owner = {"reader": "alice", "editor": "eve"}.get(caller, caller)
    for items in (listed.json["_items"], [json.loads(line) for line in streamed.text.splitlines()]):
        assert caller == "admin" or {item["owner"] for item in items} <= {owner}
    assert (MARK in listed.text, MARK in streamed.text) == (caller in ("alice", "reader", "admin"),) * 2


def test_what_each_makes_is_its_own_and_sees_no_more(world: World) -> None:
    base = world.stored()
    for caller, owner in {"alice": "alice", "bob": "bob", "editor": "eve", "admin": "admin"}.items():
        asked = world.callers[caller]
        made = asked.post("inputs", json={"data": ROW}).json
        job = asked.post("jobs", json={"model": "sums", "where": {}}).json
        [prediction] = asked.post("models/sums/predict", json={"instances": [ROW]}).json["predictions"]
        for name, id_ in {"inputs": made["_id"], "jobs": job["_id"], "results": prediction["_id"]}.items():
            document = world.db[name].find_one({"_id": ObjectId(id_)}) or {}
            assert document["owner"] == owner
            assert name != "jobs" or document["scope"] == ({} if caller == "admin" else {"owner": owner})
    labels = re.findall(r'="([^"]*)"', world.callers["admin"].get("/metrics").text)
    assert "sums" in labels
    assert not {"alice", "bob", "eve", "admin"} & set(labels)
    world.clear(base)


def test_a_name_belongs_to_who_registered_it_first(world: World) -> None:
    base = world.stored()
    editor = world.callers["editor"]
    other = editor.as_caller(create_key(world.db, "editor", "dora")[1])

    def register(caller: Api) -> TestResponse:
        answer: TestResponse = caller.post(
            "models", data={"name": "mine", "file": (io.BytesIO(b"no model"), "m.keras")}
        )
        return answer

    first = register(editor)
    assert (first.status_code, first.json["owner"]) == (201, "eve")
    path = f"models/{first.json['_id']}"
    assert register(other).status_code == 403
    assert other.patch(path, json={"description": "x"}, headers={"If-Match": "*"}).status_code == 403
    assert other.delete(path, headers={"If-Match": "*"}).status_code == 403
    # The administrator's version of it changes nothing of that.
    assert register(world.callers["admin"]).json["version"] == 2
    assert register(other).status_code == 403
    assert register(editor).json["version"] == 3
    assert editor.patch(path, json={"description": "x"}, headers={"If-Match": "*"}).status_code == 200
    assert editor.delete(path, headers={"If-Match": "*"}).status_code == 204
    world.clear(base)
