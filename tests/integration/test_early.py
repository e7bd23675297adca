"""A plain prediction is answered before Flask sees it, and exactly as the route would: the same is asked both ways."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from ml.admission import Admission
from ml.errors import DeadlineExceeded, StorageUnavailable
from ml.metrics import exposition
from tests.conftest import Api
from tests.integration.rest import ROW, URL, Client, npy, stored

#: A preference that nobody has heard of: all that it does is to make the request more than plain.
BY_THE_ROUTE = {"Prefer": "chocolate"}
JSON = "application/json"

#: Body, headers, and whether it is plain enough to be answered before Flask.
ASKED: dict[str, tuple[Any, dict[str, str], bool]] = {
    "a row": ({"instances": [ROW]}, {}, True),
    "rows": ({"instances": [ROW, [0.5, 1e3, -7]]}, {}, True),
    "all fields": (
        {"instances": [ROW, ROW], "meta": [{"a": 1}, None], "store": "result", "timeout_ms": 5000, "outputs": ["y"]},
        {},
        True,
    ),
    "nothing stored": ({"instances": [ROW], "store": "none"}, {}, True),
    "a sane id": ({"instances": [ROW]}, {"X-Request-ID": "mine-1"}, True),
    "an id that is not sane": ({"instances": [ROW]}, {"X-Request-ID": "a b"}, True),
    "utf-8": ({"instances": [ROW]}, {"Content-Type": "application/json; charset=utf-8"}, True),
    "html is not there for it": ({"instances": [ROW]}, {"Accept": "text/html"}, True),
    "the model fails": ({"instances": [ROW, [13, 0, 0]]}, {}, True),
    "outputs that are not there": ({"instances": [ROW], "outputs": ["z"]}, {}, True),
    "a row too long": ({"instances": [ROW, [1, 2, 3, 4]]}, {}, False),
    "no number": ({"instances": [ROW, [1, 2, "x"]]}, {}, False),
    "an unknown field": ({"instances": [ROW], "x": 1}, {}, False),
    "a wrong field": ({"instances": [ROW], "store": "some"}, {}, False),
    "no JSON": (b'{"instances": [[1, 2, 3]', {}, False),
    "an empty body": (b"", {}, False),
    "another type": (b"<rows/>", {"Content-Type": "text/xml"}, False),
    "a .npy": (npy([[1.0, 2.0, 3.0]]), {"Content-Type": "application/x-npy"}, False),
    "a .npy back": ({"instances": [ROW]}, {"Accept": "application/x-npy"}, False),
    "no key": ({"instances": [ROW]}, {"Authorization": ""}, False),
    "a wrong key": ({"instances": [ROW]}, {"Authorization": "Bearer nobody's"}, False),
    "a date that is none": ({"instances": [ROW]}, {"If-Modified-Since": "yesterday"}, False),
}


def live(api: Api, path: str = URL) -> None:
    """Let the model be loaded, and the path known."""
    assert ask(api, path, {"instances": [ROW], "store": "none"}, BY_THE_ROUTE).status_code == 200


def counted(name: str, **labels: str) -> float:
    """What the figures of that name with these labels come to."""
    lines = [line for line in exposition().decode().splitlines() if line.startswith(f"{name}{{")]
    return sum(float(line.split()[-1]) for line in lines if all(f'{k}="{v}"' in line for k, v in labels.items()))


@pytest.fixture
def by_flask(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of requests that Flask has seen."""
    seen: list[str] = []
    app = api.http.application
    real = app.request_context
    monkeypatch.setattr(app, "request_context", lambda environ: seen.append(environ["PATH_INFO"]) or real(environ))
    return seen


def ask(api: Api, path: str, body: Any, headers: dict[str, str]) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body)
    return api.post(path, data=data, headers={"Content-Type": JSON, **headers})


def shape(answer: TestResponse) -> Any:
    """An answer without what differs each time."""
    body = re.sub(rb'"(_id|input)":"[0-9a-f]{24}"|"\w+_ms":[0-9.e-]+|request [0-9a-f]{32}', b"", answer.data)
    headers = dict(answer.headers)
    headers["X-Request-ID"] = re.sub(r"[0-9a-f]{32}", "", headers["X-Request-ID"])
    assert int(headers.pop("Content-Length")) == len(answer.data)
    return answer.status, headers, body


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("path", [URL, "models/sums/versions/1/predict", "models/sums/aliases/stable/predict"])
def test_it_is_answered_as_the_route_answers_it(
    api: Api, client: Client, serve: Callable[..., Any], by_flask: list[str], path: str, name: str
) -> None:
    serve(aliases={"stable": 1}, fail_on=13.0, classes=["one", "two"])
    live(api, path)
    by_flask.clear()
    body, headers, plain = ASKED[name]
    by_route = ask(api, path, body, {**BY_THE_ROUTE, **headers})
    kept = [sorted(document) for name in ("inputs", "results") for document in stored(client, name)]
    assert len(by_flask) == 1
    early = ask(api, path, body, headers)
    assert shape(early) == shape(by_route)
    assert len(by_flask) == (1 if plain else 2)
    both = [sorted(document) for name in ("inputs", "results") for document in stored(client, name)]
    assert sorted(both) == sorted(kept * 2)
    if headers.get("X-Request-ID") == "mine-1":
        assert early.headers["X-Request-ID"] == "mine-1"
        assert [result["request"] for result in stored(client, "results")] == ["mine-1"] * 2


def test_which_version_is_asked_for_is_known_to_the_service(
    api: Api, serve: Callable[..., Any], by_flask: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks the registry once more where the version was unloaded meanwhile."""
    serve(aliases={"stable": 1})
    service = api.http.application.extensions["service"]
    real, asked = service.predict, []
    monkeypatch.setattr(service, "predict", lambda what, live=None: asked.append(what) or real(what, live))
    for path in (URL, "models/sums/versions/1/predict", "models/sums/aliases/stable/predict"):
        live(api, path)
        by_flask.clear()
        assert ask(api, path, {"instances": [ROW]}, {}).status_code == 200
        assert not by_flask
        assert (asked[-1].version, asked[-1].alias) == (asked[-2].version, asked[-2].alias)
    assert [(one.version, one.alias) for one in asked[1::2]] == [(None, None), (1, None), (None, "stable")]


@pytest.mark.parametrize(
    ("problem", "code"),
    [(StorageUnavailable("gone"), 503), (DeadlineExceeded("late"), 504), (RuntimeError("a defect"), 500)],
)
def test_what_goes_wrong_later_too(
    api: Api,
    serve: Callable[..., Any],
    by_flask: list[str],
    monkeypatch: pytest.MonkeyPatch,
    problem: Exception,
    code: int,
) -> None:
    serve()
    live(api)
    by_flask.clear()
    tried = []

    def predict(*_: Any) -> Any:
        tried.append(True)
        raise problem

    monkeypatch.setattr(api.http.application.extensions["service"], "predict", predict)
    answers = [ask(api, URL, {"instances": [ROW]}, headers) for headers in (BY_THE_ROUTE, {})]
    assert [answer.status_code for answer in answers] == [code] * 2
    assert shape(answers[0]) == shape(answers[1])
    assert len(tried) == 2  # neither was computed twice
    assert len(by_flask) == 1


def test_another_caller_is_another_owner(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    for token in ("user:eve", "user:adam", "user:eve"):
        assert ask(api.as_caller(token), URL, {"instances": [ROW]}, {}).status_code == 200
    assert [result["owner"] for result in stored(client, "results")] == ["eve", "adam", "eve"]


def test_a_path_that_means_nothing_any_more(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    assert ask(api, URL, {"instances": [ROW]}, {}).status_code == 200
    client["almanac"]["models"].update_one({}, {"$set": {"state": "retired"}})
    api.http.application.extensions["service"].registry.refresh()
    assert ask(api, URL, {"instances": [ROW]}, {}).status_code == 409


def test_places_are_given_back_whatever_happens(api: Api, serve: Callable[..., Any], by_flask: list[str]) -> None:
    serve(fail_on=13.0)
    live(api)
    by_flask.clear()
    admission: Admission = api.http.application.extensions["service"].admission
    for _ in range(70):  # more than there are
        for body, code in (({"instances": [ROW]}, 200), ({"instances": [[13, 0, 0]]}, 500), ({"instances": [[]]}, 422)):
            assert ask(api, URL, body, {}).status_code == code
    assert admission.inside() == 0
    assert len(by_flask) == 70  # those that are no rows


def test_what_finds_no_place_is_refused_at_once(api: Api, serve: Callable[..., Any], by_flask: list[str]) -> None:
    serve()
    live(api)
    by_flask.clear()
    admission: Admission = api.http.application.extensions["service"].admission
    places = 0
    while admission.refusal() is None:
        admission.take()
        places += 1
    before = counted("almanac_refused_total", reason="predictions"), counted("almanac_requests_total", code="503")
    for number in range(3):
        refused = ask(api, URL, {"instances": [ROW]}, {"X-Request-ID": f"mine-{number}"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.headers["X-Request-ID"] == f"mine-{number}"
        assert refused.json == {
            "_status": "ERR",
            "_error": {"code": 503, "message": f"{places} predictions are under way already"},
        }
    # Each in the words of its path, however many paths there are.
    for number in range(300):
        assert ask(api, f"models/m{number}/predict", {"instances": [ROW]}, {}).json == refused.json
    other = api.http.post("/v1/models/sums:predict", json={"instances": [ROW]}, headers=api.headers)
    assert other.json == {"error": f"{places} predictions are under way already"}
    assert len({ask(api, URL, {}, {}).headers["X-Request-ID"] for _ in range(3)}) == 3
    assert counted("almanac_refused_total", reason="predictions") == before[0] + 307
    assert counted("almanac_requests_total", code="503") == before[1] + 307
    assert not by_flask
    for _ in range(places):
        admission.give()
    assert ask(api, URL, {"instances": [ROW]}, {}).status_code == 200
