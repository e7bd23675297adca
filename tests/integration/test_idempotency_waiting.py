"""Two requests with one `Idempotency-Key` at once: one runs, others wait, and not too many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ml.executors.stub import StubExecutor
from ml.idempotency.keys import Keys
from tests.conftest import Api
from tests.integration.idempotent import (
    KEY,
    counts,
)
from tests.integration.rest import ROW, URL, Client, stored
from tests.waiting import until


@pytest.mark.parametrize(
    ("path", "body"), [(URL, {"instances": [ROW]}), ("inputs", {"data": ROW}), ("jobs", {"model": "sums"})]
)
def test_two_at_once_are_one_run(
    client: Client,
    make_api: Callable[..., Api],
    serve: Callable[..., Any],
    path: str,
    body: Any,
) -> None:
    serve()
    servers = [make_api(client), make_api(client)]  # as two processes
    told: list[Any] = []
    barrier = threading.Barrier(6)

    def send(server: Api) -> None:
        other = Api(server.http.application.test_client())
        barrier.wait()
        told.append(other.post(path, json=body, headers=KEY))

    threads = [threading.Thread(target=send, args=(servers[n % 2],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 6
    assert len({answer.data for answer in told}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in told) == 1
    assert set(counts(client).values()) == {1}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds every executor call back until it is set, but for those on zeros, which warm a model up."""
    event = threading.Event()
    real = StubExecutor.run

    def run(executor: StubExecutor, inputs: Any) -> Any:
        assert not np.any(inputs["x"]) or event.wait(30)
        return real(executor, inputs)

    monkeypatch.setattr(StubExecutor, "run", run)
    yield event
    event.set()


def in_background(api: Api, told: list[Any], **kwargs: Any) -> threading.Thread:
    other = Api(api.http.application.test_client())
    thread = threading.Thread(target=lambda: told.append(other.post(URL, **kwargs)))
    thread.start()
    return thread


def test_while_the_first_is_under_way_others_wait_and_are_told_to_come_again_at_the_deadline(
    client: Client, make_api: Callable[..., Api], serve: Callable[..., Any], held: threading.Event
) -> None:
    serve()
    api, body, told = make_api(client), {"instances": [ROW]}, []
    first = in_background(api, told, json=body, headers=KEY)
    until(lambda: stored(client, "idempotency"))
    impatient = make_api(client, deadline_ms=50).post(URL, json=body, headers=KEY)
    assert (impatient.status_code, impatient.headers["Retry-After"]) == (503, "1")
    assert "still being answered" in impatient.json["_error"]["message"]
    # Another body need not wait to be refused.
    assert api.post(URL, json={"instances": [[0, 0, 0]]}, headers=KEY).status_code == 409
    second = in_background(api, told, json=body, headers=KEY)
    held.set()
    for thread in (first, second):
        thread.join(30)
    assert told[0].data == told[1].data
    assert counts(client) == {"inputs": 1, "results": 1}


def test_only_so_many_wait_for_another_and_they_count_as_predictions(
    client: Client,
    make_api: Callable[..., Api],
    serve: Callable[..., Any],
    held: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve()
    waiting: set[int] = set()
    real = Keys.under_way

    def under_way(keys: Keys, pending: Any) -> bool:
        waiting.add(threading.get_ident())
        return real(keys, pending)

    monkeypatch.setattr(Keys, "under_way", under_way)
    api, body, told = make_api(client, threads=16), {"instances": [ROW]}, []
    admission = api.http.application.extensions["service"].admission
    threads = [in_background(api, told, json=body, headers=KEY)]
    until(lambda: stored(client, "idempotency"))
    threads += [in_background(api, told, json=body, headers=KEY) for _ in range(2)]
    until(lambda: len(waiting) == 2 and admission.inside() == 3)  # the first is in its view, two wait
    answer = api.post(URL, json=body, headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "2 requests that wait for another with their Idempotency-Key" in answer.json["_error"]["message"]
    held.set()
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in told] == [200] * 3
    assert admission.inside() == 0


def test_a_prediction_that_finds_no_place_claims_nothing(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    admission = api.http.application.extensions["service"].admission
    taken = 0
    while admission.refusal() is None:
        admission.take()
        taken += 1
    view = api.http.application.view_functions["predict.default"]
    for send in (
        lambda: api.post(URL, json={"instances": [ROW]}, headers=KEY).status_code,
        lambda: beyond_the_door(api, view),
    ):
        assert send() == 503
        assert stored(client, "idempotency") == []
    for _ in range(taken):
        admission.give()
    assert api.post(URL, json={"instances": [ROW]}, headers=KEY).status_code == 200


def beyond_the_door(api: Api, view: Callable[..., Any]) -> int:
    """The status where the last place is taken between the door and the view."""
    from flask import g

    from api.auth.caller import Caller

    app = api.http.application
    with app.test_request_context(f"/api/v1/{URL}", method="POST", json={"instances": [ROW]}, headers=KEY):
        g.caller = Caller("admin", "admin")
        try:
            view(name="sums")
        except Exception as error:  # noqa: BLE001
            return int(app.make_response(app.handle_user_exception(error)).status_code)
    return 200


def test_nothing_of_a_prediction_that_timed_out_is_doubled(
    api: Api, client: Client, serve: Callable[..., Any], held: threading.Event
) -> None:
    serve()
    body = {"instances": [ROW], "timeout_ms": 200}
    assert api.post(URL, json=body, headers=KEY).status_code == 504
    held.set()  # the rows may yet be stored, before or after what comes now
    assert api.post(URL, json=body, headers=KEY).status_code == 200
    api.http.application.extensions["service"].registry.close()
    api.http.application.extensions["service"].store.close()
    assert counts(client) == {"inputs": 1, "results": 1}
