"""ALMANAC_AUTH=off: no key is asked for, and pages of other sites in a browser here get nothing done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Api
from tests.integration.rest import ROW


@pytest.fixture
def anyone(replica: Callable[..., Api]) -> Api:
    return replica(auth="off").as_caller(None)


def test_everyone_is_the_administrator(anyone: Api) -> None:
    assert anyone.post("inputs", json={"data": ROW}).json["owner"] == "admin"
    for path in ("inputs", "keys", "users", "/metrics"):
        assert anyone.get(path).status_code == 200
        assert anyone.as_caller("whatever").get(path).status_code == 200
    assert anyone.get("inputs", headers={"Host": "127.0.0.1:8000"}).status_code == 200


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://localhost.elsewhere.example", "//["])
def test_another_sites_page_is_refused(anyone: Api, origin: str) -> None:
    for headers in ({"Origin": origin}, {"Origin": origin, "Authorization": "Bearer x"}):
        assert anyone.post("inputs", json={"data": ROW}, headers=headers).status_code == 403
    assert anyone.get("inputs?count=true").json["_meta"]["total"] == 0
    assert anyone.post("inputs", json={"data": ROW}, headers={"Origin": "http://localhost:8000"}).status_code == 201


@pytest.mark.parametrize("host", ["elsewhere.example", "localhost.elsewhere.example", "10.0.0.1"])
def test_a_name_of_anothers_that_leads_here_is_refused(anyone: Api, host: str) -> None:
    """A page could have its own name lead to this machine, and then be of one origin with it."""
    answer = anyone.get("inputs", headers={"Host": host})
    assert answer.status_code == 400
    assert answer.json["_error"]["code"] == 400
    assert anyone.post("models/m/predict", json={"instances": [ROW]}, headers={"Host": host}).status_code == 400
