"""What is the same in every dialect: records, keys, ownership, limits, deadlines; each said in its own words."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId

from api import create_app
from api.dialects import DIALECTS
from api.dialects.base import Dialect
from ml.admission import Admission
from ml.identity.keys import create_key
from settings import Settings
from tests.conftest import ADMIN_KEY, Api
from tests.integration.dialects import SPOKEN, Spoken
from tests.integration.everyone import path_of, plain
from tests.integration.rest import ROW, Client, nothing_stored, stored
from tests.waiting import until


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture
def spoken(dialect: Dialect) -> Spoken:
    return SPOKEN[dialect.name]


def said(spoken: Spoken, answer: Any, code: int) -> str:
    """The text of an error that stands for one of Almanac's statuses."""
    assert answer.status_code == spoken.STATUSES.get(code, code), answer.text
    return spoken.problem(answer)


def test_a_prediction_is_found_among_the_results_with_its_protocol_and_request(
    api: Api, client: Client, serve: Callable[..., Any], dialect: Dialect, spoken: Spoken
) -> None:
    serve(classes=["one", "two"])
    native = api.post("models/sums/predict", json={"instances": [ROW, [4, 5, 6]], "store": "none"})
    eve, adam = api.as_caller("user:eve"), api.as_caller("user:adam")
    answer = spoken.ask(eve, [ROW, [4, 5, 6]], headers={"X-Request-ID": "mine-1"})
    assert spoken.rows_of(answer) == [prediction["output"] for prediction in native.json["predictions"]]
    assert answer.headers["X-Request-ID"] == "mine-1"
    found = eve.get("results", query_string={"where": '{"request": "mine-1"}', "embedded": '{"input": 1}'})
    results = sorted(found.json["_items"], key=lambda result: result["input"]["data"])
    assert [result["input"]["data"] for result in results] == [ROW, [4, 5, 6]]
    assert [[result["output"]["y"]] for result in results] == [[row] for row in spoken.rows_of(answer)]
    for result in results:
        told = [result[name] for name in ("protocol", "owner", "model", "version", "status")]
        assert told == [dialect.name, "eve", "sums", 1, "succeeded"]
        assert result["label"] in ("one", "two")
    assert adam.get("results").json["_items"] == []
    listed = eve.get("results", query_string={"where": f'{{"protocol": "{dialect.name}"}}'})
    assert len(listed.json["_items"]) == 2
    spoken.rows_of(spoken.ask(eve, [ROW]))
    requests = {document["request"] for document in stored(client, "results")}
    assert len(requests) == 2


def test_versions_and_what_stable_names(api: Api, client: Client, serve: Callable[..., Any], spoken: Spoken) -> None:
    for version in (1, 2, 3):
        serve(version=version, add=100.0 * version, aliases={"stable": 2})
    first = {
        version: spoken.rows_of(spoken.ask(api, [ROW], version=version))[0][0] - 100 * (version or 2)
        for version in (None, 1, 2, 3)
    }
    assert len(set(first.values())) == 1, first
    assert [result["version"] for result in stored(client, "results")] == [2, 1, 2, 3]


def test_who_may_ask(client: Client, serve: Callable[..., Any], tmp_path: Any, spoken: Spoken) -> None:
    serve()
    app = create_app(Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, _env_file=None), client)
    root = Api(app.test_client())
    try:
        for token in (None, "alm_nobody's"):
            answer = spoken.ask(root.as_caller(token), [ROW])
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="almanac"'
            assert "key" in said(spoken, answer, 401)
        reader = root.as_caller(create_key(client["almanac"], "reader", "eve")[1])
        assert "the role reader may not do this" in said(spoken, spoken.ask(reader, [ROW]), 403)
        other = root.as_caller(create_key(client["almanac"], "user", "eve", models=["others"])[1])
        assert "this key is not for the model 'sums'" in said(spoken, spoken.ask(other, [ROW]), 403)
        assert nothing_stored(client)
        this = root.as_caller(create_key(client["almanac"], "user", "eve", models=["sums"])[1])
        assert spoken.ask(this, [ROW]).status_code == 200
    finally:
        app.extensions["service"].close()


def test_what_is_not_there_or_not_available(
    api: Api, client: Client, serve: Callable[..., Any], spoken: Spoken
) -> None:
    serve()
    for name, state in (("young", "loading"), ("broken", "failed"), ("old", "retired")):
        serve(name=name, state=state)
        assert f"{name}:1 is {state}" in said(spoken, spoken.ask(api, [ROW], model=name), 409)
    assert spoken.NO_MODEL in said(spoken, spoken.ask(api, [ROW], model="nope"), 404)
    assert spoken.NO_VERSION in said(spoken, spoken.ask(api, [ROW], version=9), 404)
    assert "x" in said(spoken, spoken.ask(api, [[1, 2]]), 422)
    assert nothing_stored(client)


def test_a_model_that_fails_on_a_row(api: Api, client: Client, serve: Callable[..., Any], spoken: Spoken) -> None:
    serve(fail_on=13.0)
    answer = spoken.ask(api, [ROW, [13, 0, 0]], headers={"X-Request-ID": "failing"})
    assert "the model failed on 1 of 2 rows" in said(spoken, answer, 500)
    assert "(request failing)" in spoken.problem(answer)
    assert sorted(result["status"] for result in stored(client, "results")) == ["failed", "succeeded"]


def test_what_finds_no_place_is_refused_at_once(
    api: Api, client: Client, serve: Callable[..., Any], spoken: Spoken
) -> None:
    serve()
    assert spoken.ask(api, [ROW]).status_code == 200
    admission: Admission = api.http.application.extensions["service"].admission
    taken = 0
    while admission.refusal() is None:
        admission.take()
        taken += 1
    refused = spoken.ask(api, [ROW])
    assert "predictions are under way already" in said(spoken, refused, 503)
    assert refused.headers["Retry-After"] == "1"
    for _ in range(taken):
        admission.give()
    assert spoken.ask(api, [ROW]).status_code == 200
    assert admission.inside() == 0
    assert len(stored(client, "results")) == 2


def test_more_rows_than_a_request_may_have(api: Api, client: Client, serve: Callable[..., Any], spoken: Spoken) -> None:
    serve()
    assert "too many rows: expected at most 10000, got 10001" in said(spoken, spoken.ask(api, [ROW] * 10_001), 422)
    assert nothing_stored(client)


def test_more_requests_than_are_allowed(
    client: Client, make_api: Callable[..., Api], serve: Callable[..., Any], spoken: Spoken
) -> None:
    serve()
    api = make_api(client, rate_limit="2/minute", rate_limit_storage="memory://")
    assert [spoken.ask(api, [ROW]).headers["RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]
    answer = spoken.ask(api, [ROW])
    assert "too many requests with this key" in said(spoken, answer, 429)
    assert int(answer.headers["Retry-After"]) > 0
    assert spoken.ask(api.as_caller("user:eve"), [ROW]).status_code == 200


def test_a_deadline_that_passes(
    client: Client, make_api: Callable[..., Api], serve: Callable[..., Any], spoken: Spoken
) -> None:
    serve()
    api = make_api(client, deadline_ms=5000)
    assert spoken.ask(api, [ROW]).status_code == 200
    service = api.http.application.extensions["service"]
    live = service.registry.meant("sums")
    began, hold = threading.Event(), threading.Event()
    run = live.batcher._executor.run

    def held(inputs: Any) -> Any:
        began.set()
        assert hold.wait(20)
        return run(inputs)

    live.batcher._executor.run = held
    first: list[Any] = []
    eve = api.as_caller("user:eve")
    asking = threading.Thread(target=lambda: first.append(spoken.ask(eve, [ROW])), daemon=True)
    asking.start()
    assert began.wait(20)
    service.limits = type(service.limits)(deadline_ms=50)
    assert "no answer within 50 ms" in said(spoken, spoken.ask(api, [ROW]), 504)
    hold.set()
    asking.join(20)
    assert first[0].status_code == 200
    until(lambda: service.admission.inside() == 0)


def test_bodies_that_are_too_large(
    client: Client, make_api: Callable[..., Api], serve: Callable[..., Any], spoken: Spoken
) -> None:
    serve()
    api = make_api(client, max_body_mb=1)
    assert "larger than is allowed" in said(spoken, spoken.ask(api, [[1.00001, 2.00002, 3.00003]] * 60_000), 413)
    assert nothing_stored(client)


def test_other_hosts_and_methods(
    client: Client, make_api: Callable[..., Api], dialect: Dialect, spoken: Spoken
) -> None:
    api = make_api(client, trusted_hosts=["almanac.example"])
    answer = api.get(spoken.NOT_THERE[0], headers={"Host": "evil.example"})
    assert "the request is for another host" in said(spoken, answer, 400)
    paths: dict[str, set[str]] = {}
    for rule in api.http.application.url_map.iter_rules():
        if rule.endpoint.startswith(f"{dialect.name}.") and rule.endpoint not in dialect.public:
            paths.setdefault(path_of(plain(rule), ObjectId()), set()).update(rule.methods or ())
    path, methods = next(iter(paths.items()))
    other = "put" if "PUT" not in methods else "delete"
    answer = getattr(api, other)(path, headers={"Host": "almanac.example"})
    assert f"{other.upper()} is not allowed here" in said(spoken, answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == methods


def test_an_error_that_is_none_of_the_clients(
    api: Api, serve: Callable[..., Any], spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()

    def broken(*_: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(api.http.application.extensions["service"], "predict", broken)
    answer = spoken.ask(api, [ROW], headers={"X-Request-ID": "mine-2"})
    assert said(spoken, answer, 500) == "unexpected error; the log has it under request mine-2"
