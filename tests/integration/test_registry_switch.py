"""A name moves to a version that is warm: until then the former one answers, and nobody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from ml import registry
from ml.database.client import database_of
from ml.errors import DeadlineExceeded, ModelNotAvailable
from ml.service import Prediction, Service
from tests.conftest import Api
from tests.integration.conftest import Gate
from tests.integration.rest import ROW, URL, Client
from tests.waiting import until

#: Milliseconds in which a version that is live has answered on the slowest machine.
SOON = 5000


#: As a build for this processor writes them.
WAYS = [{"executor": "stub", "threads": 1}]


def predict(service: Service, **asked: Any) -> int:
    """The version that answers; its output is checked to be its own."""
    asked = {"timeout_ms": SOON, "store": "none", **asked}
    answer = service.predict(Prediction(model="sums", instances=[ROW, ROW], **asked))
    assert answer.outputs["y"].tolist() == [[100.0 * answer.version + 6, 100.0 * answer.version + 7]] * 2
    return answer.version


@pytest.fixture
def versions(serve: Callable[..., Any]) -> dict[int, dict[str, Any]]:
    """Three versions, each adding a hundred times its number; `stable` is the first."""
    return {n: serve(version=n, add=100.0 * n, aliases={"stable": 1}) for n in (1, 2, 3)}


@pytest.fixture
def service(replica: Callable[..., Service], versions: Any, gate: Gate) -> Service:
    """Started, with what is kept loaded: 1 as `stable`, 3 as the newest. Loads of 2 are held back."""
    gate.shut(2)
    made = replica()
    made.start()
    until(lambda: not made.registry.reasons_not_ready())
    assert sorted(gate.loads) == [1, 3]
    return made


def move(service: Service, version: int) -> None:
    """Move `stable` as another process would."""
    before = service.db["models"].find_one({"version": version})
    assert before is not None
    service.catalog.update(before, {"aliases": ["stable"]})
    until(lambda: service.registry.find("sums").number == version)


def test_the_former_version_answers_while_the_new_one_is_loaded(service: Service, gate: Gate) -> None:
    move(service, 2)
    until(lambda: 2 in gate.loads)
    for _ in range(20):
        assert predict(service) == predict(service, alias="stable") == 1
        assert predict(service, version=3) == 3
    with pytest.raises(DeadlineExceeded, match="sums:2 is still being loaded"):
        predict(service, version=2, timeout_ms=50)
    gate.open(2)
    until(lambda: predict(service) == 2)
    assert predict(service, alias="stable") == predict(service, version=2) == 2
    # The one that lost its role stays, and is not loaded again.
    assert predict(service, version=1) == 1
    assert sorted(gate.loads) == [1, 2, 3]


def test_a_version_that_becomes_the_newest_is_loaded_before_it_is_the_default(
    service: Service, gate: Gate, serve: Callable[..., Any]
) -> None:
    gate.shut(4)
    serve(version=4, add=400.0)  # and there is no alias any more
    until(lambda: service.registry.find("sums").number == 4)
    assert predict(service) == 1
    until(lambda: 4 in gate.loads)
    gate.open(4)
    until(lambda: predict(service) == 4)


def test_a_switch_to_what_cannot_be_loaded_here_is_told(service: Service, client: Client, gate: Gate) -> None:
    database_of(client)["models"].update_one(
        {"version": 2}, [{"$set": {"executor": "odd", "artefacts.odd": "$artefacts.stub"}}]
    )
    service.registry.refresh()
    move(service, 2)

    def reason() -> str:
        try:
            assert predict(service) == 1
        except ModelNotAvailable as error:
            return str(error)
        return ""

    assert until(reason).startswith("sums:2 cannot be loaded here: there is no executor 'odd'; there are: ")
    move(service, 3)
    assert predict(service) == 3


def test_the_former_version_answers_until_the_new_one_is_built_for_this_processor(
    service: Service, client: Client, gate: Gate
) -> None:
    models = database_of(client)["models"]
    models.update_one({"version": 2}, {"$set": {"build.processor": {"machine": "z80", "features": []}}})
    service.registry.refresh()
    move(service, 2)

    with pytest.raises(ModelNotAvailable, match="sums:2 cannot be loaded here: it was built on another kind of proces"):
        predict(service, version=2)
    assert predict(service) == predict(service, alias="stable") == 1
    gate.open(2)
    models.update_one({"version": 2}, [{"$set": {"elsewhere": [{"artefacts": "$artefacts", "ways": WAYS}]}}])
    until(lambda: predict(service) == 2)


def test_what_is_retired_does_not_stand_in(service: Service, versions: Any, gate: Gate) -> None:
    move(service, 2)
    assert predict(service) == 1
    before = service.db["models"].find_one({"version": 1})
    assert before is not None
    service.catalog.retire(before)
    until(lambda: service.registry.find("sums", version=1).state == "retired")
    with pytest.raises(DeadlineExceeded, match="sums:2 is still being loaded"):
        predict(service, timeout_ms=50)
    with pytest.raises(ModelNotAvailable, match="sums:1 is retired"):
        predict(service, version=1)
    gate.open(2)
    assert predict(service) == 2


@pytest.fixture
def followed(make_api: Callable[..., Api], client: Client, versions: Any, gate: Gate) -> Api:
    """An app whose service follows the database, as a server's does; 1 and 3 are loaded, 2 is held back."""
    gate.shut(2)
    api = make_api(client)
    service = api.http.application.extensions["service"]
    service.start()
    until(lambda: not service.registry.reasons_not_ready())
    return api


def answering(api: Api, path: str = URL) -> int:
    answer = api.post(path, json={"instances": [ROW], "store": "none"})
    assert answer.status_code == 200, answer.text
    return int(answer.json["version"])


class Asking(threading.Thread):
    """A request in a thread of its own; `status` once it is answered."""

    def __init__(self, api: Api, method: str, path: str, **kwargs: Any) -> None:
        super().__init__()
        self.status = 0
        self._ask = lambda: getattr(Api(api.http.application.test_client()), method)(path, **kwargs)
        self.start()

    def run(self) -> None:
        self.status = self._ask().status_code


def patch(api: Api, versions: Any, number: int) -> Asking:
    return Asking(
        api, "patch", f"models/{versions[number]['_id']}", json={"aliases": ["stable"]}, headers={"If-Match": "*"}
    )


def test_an_alias_is_moved_once_its_version_is_warm_and_then_at_once(
    followed: Api, client: Client, versions: Any, gate: Gate
) -> None:
    asking = patch(followed, versions, 2)
    until(lambda: 2 in gate.loads)
    assert answering(followed) == answering(followed, "models/sums/aliases/stable/predict") == 1
    entry = database_of(client)["registry"].find_one({"_id": "sums"})
    assert entry is not None
    assert (entry["aliases"], asking.status) == ({"stable": 1}, 0)
    gate.open(2)
    asking.join(20)
    assert asking.status == 200
    assert answering(followed) == 2
    for number in (1, 2) * 5:
        patch(followed, versions, number).join(20)
        assert answering(followed) == answering(followed, "models/sums/aliases/stable/predict") == number
    assert sorted(gate.loads) == [1, 2, 3]


def test_an_alias_moves_in_the_end_even_if_its_version_is_not_warm(
    followed: Api, versions: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "PREPARE_SECONDS", 0.1)
    asking = patch(followed, versions, 2)
    asking.join(20)
    assert asking.status == 200
    assert followed.get(f"models/{versions[2]['_id']}").json["aliases"] == ["stable"]
    assert answering(followed) == 1
    gate.open(2)
    until(lambda: answering(followed) == 2)


def test_what_follows_a_version_that_is_retired_is_warm_first(
    followed: Api, client: Client, versions: Any, gate: Gate
) -> None:
    service = followed.http.application.extensions["service"]
    database_of(client)["registry"].update_one({"_id": "sums"}, {"$set": {"aliases": {}}})
    until(lambda: service.registry.find("sums").number == 3)
    asking = Asking(followed, "delete", f"models/{versions[3]['_id']}", headers={"If-Match": "*"})
    until(lambda: 2 in gate.loads)
    assert answering(followed) == 3
    gate.open(2)
    asking.join(20)
    assert asking.status == 204
    assert answering(followed) == 2
    answer = followed.post("models/sums/versions/3/predict", json={"instances": [ROW]})
    assert (answer.status_code, answer.json["_error"]["message"]) == (409, "sums:3 is retired")


def test_a_request_for_what_is_not_loaded_waits_until_its_deadline(followed: Api, versions: Any, gate: Gate) -> None:
    path, body = "models/sums/versions/2/predict", {"instances": [ROW], "store": "none"}
    late = followed.post(path, json={**body, "timeout_ms": 50})
    assert late.status_code == 504
    assert late.json["_error"]["message"] == "sums:2 is still being loaded; nothing was computed or stored"
    # What does not fit is told without waiting.
    assert followed.post(path, json={"instances": [[1]]}).status_code == 422
    asking = [Asking(followed, "post", path, json=body) for _ in range(8)]
    gate.open(2)
    for one in asking:
        one.join(20)
    assert [one.status for one in asking] == [200] * 8
    assert gate.loads.count(2) == 1
