"""What the tests of identity share: keys and users as administrators make them, and requests in their names."""

from __future__ import annotations

import base64
from typing import Any

from tests.conftest import Api

PASSWORD = "four violet otters juggle"
MATCH = {"If-Match": "*"}


def make_key(admin: Api, role: str = "user", owner: str = "alice", **fields: Any) -> dict[str, Any]:
    answer = admin.post("keys", json={"role": role, "owner": owner, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json
    return made


def make_user(admin: Api, name: str = "bob", role: str = "user", **fields: Any) -> dict[str, Any]:
    answer = admin.post("users", json={"name": name, "role": role, "password": PASSWORD, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json
    return made


def logged_in(api: Api, name: str = "bob", password: str = PASSWORD) -> Api:
    """The same app for who has this name and password."""
    other = Api(api.http, None)
    other.headers = {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
    return other


def status(caller: Api, path: str = "inputs") -> int:
    """How a list is answered to a caller."""
    code: int = caller.get(path).status_code
    return code
