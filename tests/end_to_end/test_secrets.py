"""No secret comes out: not in the log, an answer, a document, the audit or the metrics, wherever somebody put it.

What is not told from other text, a password in a path or in a field of its own accord, is not promised: see
docs/audit.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import bson
import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ml.database.client import database_of
from tests.conftest import add_stub
from tests.end_to_end.almanac import Almanac, free_port
from tests.waiting import until

#: Of the form that people choose, and none of Almanac's own.
ADMIN = "correct-battery-staple-77310042"
SIGNING = "a-signing-secret-of-32-characters-or-more"
PASSWORD = "four violet otters juggle 9931"
WRONG = "seven amber badgers whistle 1177"
JSON = {"Content-Type": "application/json"}
ROW = {"instances": [[1, 2, 3]]}


class Asked:
    """A server, and everything that it answered but for the few answers that give a secret to whom it belongs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        # A body that is not read for a refusal ends the connection, which the next request may find out.
        self.http.mount(
            "http://", HTTPAdapter(max_retries=Retry(3, allowed_methods=None, respect_retry_after_header=False))
        )
        self.answers: list[str] = []
        self.codes: set[int] = set()

    def ask(self, method: str, path: str, key: str | None = ADMIN, *, keep: bool = True, **sent: Any) -> Any:
        headers = {"If-Match": "*", **({"Authorization": f"Bearer {key}"} if key else {}), **sent.pop("headers", {})}
        answer = self.http.request(method, self.url + path, headers=headers, timeout=20, allow_redirects=False, **sent)
        self.codes.add(answer.status_code)
        assert answer.status_code < 500, answer.text
        if keep:
            self.answers.append(f"{answer.headers}\n{answer.text}")
        return answer


@pytest.fixture
def served(client: Any, mongod: str, tmp_path: Path) -> Iterator[tuple[Asked, Almanac]]:
    add_stub(client, tmp_path)
    server = Almanac(
        tmp_path / "data",
        free_port(),
        "--no-jobs",
        ALMANAC_MONGO_URI=mongod,
        ALMANAC_ADMIN_KEY=ADMIN,
        ALMANAC_SECRET_KEY=SIGNING,
        ALMANAC_LOG_LEVEL="debug",
        ALMANAC_LOG_FORMAT="json",
    )
    try:
        server.wait_for("^Almanac serves at")
        yield Asked(server.url), server
    finally:
        if server.process.poll() is None:
            server.kill_all()


def misplaced(asked: Asked, secret: str, callers: list[str | None]) -> None:
    """Put a secret wherever it does not belong."""
    basic = base64.b64encode(f"{secret}:{secret}".encode()).decode()
    plain = secret.encode().decode("latin-1")
    for caller in callers:
        for path in (f"/api/v1/inputs/{quote(secret, safe='')}", f"/{quote(secret)}", f"/docs/{quote(secret)}"):
            asked.ask("GET", path, caller)
        asked.ask("POST", f"/api/v1/models/{quote(secret, safe='')}/predict", caller, json=ROW)
        for query in (
            {"key": secret}, {secret: "1"}, {"where": json.dumps({"key": secret})}, {"where": secret},
            {"where": json.dumps({secret: 1})}, {"sort": secret}, {"projection": json.dumps({secret: 1})},
            {"page": secret}, {"where": json.dumps({"_id": secret})}, {"embedded": secret},
        ):  # fmt: skip
            asked.ask("GET", "/api/v1/results", caller, params=query)
        for name in ("X-Api-Key", "X-Request-ID", "If-None-Match", "If-Modified-Since", "Cookie", "Accept", "Prefer"):
            asked.ask("GET", "/api/v1/inputs", caller, headers={name: plain})
        for body in (
            {"data": secret}, {"data": [1, secret]}, {"data": [1], "meta": {"k": [secret]}}, {"data": [1], secret: 1},
            {"data": [1], "tags": [secret]}, {"data": [1], "key": secret}, {"data": [1], "meta": {secret: 1}}, secret,
            [{"data": [1]}, {"data": [1], "tags": [secret]}],
        ):  # fmt: skip
            asked.ask("POST", "/api/v1/inputs", caller, json=body)
        for path, body in (
            ("jobs", {"model": secret}), ("jobs", {"model": "sums", "where": {"tags": secret}}),
            ("jobs", {"model": "sums", "webhook": {"url": f"https://x.example/{secret}"}}),
            ("keys", {"role": secret, "owner": "x"}), ("keys", {"role": "user", "owner": secret}),
            ("keys", {"role": "user", "owner": "x", "key": secret}), ("keys", {"role": "user", "description": secret}),
            ("users", {"name": secret, "role": "user", "password": WRONG}), ("webhooks/secret", {"secret": secret}),
            ("models/sums/predict", {"instances": [[1, 2, 3]], "meta": [{"k": secret}]}),
            ("models/sums/predict", {"instances": [[1, 2, secret]]}), ("models/sums/predict", {"instances": secret}),
            ("models/sums/predict", {"instances": [[1, 2, 3]], "store": secret}),
        ):  # fmt: skip
            asked.ask("POST", f"/api/v1/{path}", caller, json=body)
        asked.ask("POST", "/api/v1/inputs", caller, data=secret.encode(), headers=JSON)
        asked.ask("POST", "/api/v1/inputs", caller, data=b"{}", headers={"Content-Type": plain})
        form = {"file": ("a.npy", b"x"), "meta": (None, json.dumps({"k": secret})), "tags": (None, f'["{secret}"]')}
        asked.ask("POST", "/api/v1/inputs", caller, files=form)
        asked.ask("POST", "/api/v1/models", caller, files={"file": ("a", b"x"), "name": (None, secret)})
        asked.ask("POST", "/api/v1/models/sums/predict", caller, json=ROW, headers={"Idempotency-Key": secret})
    for header in (f"Token {secret}", secret, f"Basic {basic}", f"Basic {secret}", f"Bearer {secret}x", "Bearer"):
        asked.ask("GET", "/api/v1/inputs", None, headers={"Authorization": header})


def passwords(asked: Asked) -> None:
    """A right and a wrong password wherever there may be one."""
    users = "/api/v1/users"
    made = asked.ask("POST", users, json={"name": "bob", "role": "user", "password": PASSWORD}).json()["_id"]
    for body in (
        {"name": "bob", "role": "user", "password": PASSWORD}, {"name": "al", "role": "none", "password": PASSWORD},
        {"name": "al", "role": "user", "password": [PASSWORD]}, {"name": "al", "role": "user", "pasword": PASSWORD},
        {"name": PASSWORD[:4], "role": "user", "password": {"a": PASSWORD}},
    ):  # fmt: skip
        asked.ask("POST", users, json=body)
    asked.ask("PATCH", f"{users}/{made}", json={"password": [WRONG]})
    asked.ask("PATCH", f"{users}/{made}", json={"password": PASSWORD, "description": "x"})
    for name, password in (("bob", PASSWORD), ("bob", WRONG), ("nobody", WRONG), (WRONG, WRONG), ("", WRONG)):
        basic = base64.b64encode(f"{name}:{password}".encode()).decode()
        for path in ("/api/v1/inputs", "/api/v1/keys", "/api/v1/audit", "/nothing"):
            asked.ask("GET", path, None, headers={"Authorization": f"Basic {basic}"})
        asked.ask("GET", "/api/v1/inputs", None, auth=(name, password + "!"))
    asked.ask("GET", users)


def test_no_secret_comes_out(served: tuple[Asked, Almanac], client: Any, mongod: str) -> None:
    asked, server = served

    def made(method: str, path: str, key: str = ADMIN, **sent: Any) -> Any:
        return asked.ask(method, f"/api/v1/{path}", key, keep=False, **sent).json()

    first = made("POST", "keys", json={"role": "user", "owner": "alice"})
    other = made("POST", f"keys/{first['_id']}/rotate")["key"]
    reader = made("POST", "keys", json={"role": "reader", "owner": "alice"})["key"]
    signs = made("GET", "webhooks/secret", other)["secret"]
    replaced = made("POST", "webhooks/secret", other)["secret"]
    database = unquote(urlsplit(mongod).password or "")
    assert len(database) > 8
    keys = [ADMIN, first["key"], other, reader, "alm_" + "Zq7" * 14 + "x"]
    secrets = [*keys, signs, replaced, SIGNING, database]
    passwords(asked)
    for secret in secrets:
        misplaced(asked, secret, [ADMIN, other] if secret in (ADMIN, other) else [other])
    for caller in (ADMIN, first["key"], other, reader, None):
        for path in ("inputs", "results", "keys", "users", "audit", "jobs", "webhooks/none", f"keys/{first['_id']}"):
            asked.ask("GET", f"/api/v1/{path}?max_results=1000" if "/" not in path else f"/api/v1/{path}", caller)
        asked.ask("POST", "/api/v1/models/sums/predict", caller, json=ROW)
    asked.ask("GET", "/metrics")
    assert asked.codes >= {200, 201, 400, 401, 403, 404, 422}
    db = database_of(client)
    assert until(lambda: db["audit"].count_documents({"action": "refuse"}) > 3)
    server.stop()

    names = [name for name in db.list_collection_names() if not name.startswith("system.")]
    documents = {name: b"".join(bson.encode(document) for document in db[name].find()) for name in names}
    assert {"audit", "keys", "inputs", "limits", "idempotency"} & documents.keys() >= {"audit", "keys", "inputs"}
    assert server.output.count("\n") > 500
    for secret in (*secrets, PASSWORD, WRONG):
        # Also where it was cut short, and as a header has it.
        for form in (secret[:24], base64.b64encode(secret.encode()).decode()[:20], quote(secret, safe="")[:24]):
            assert form not in server.output, f"the log has {secret}"
            assert [answer for answer in asked.answers if form in answer] == [], f"an answer has {secret}"
            # What signs webhooks is kept as bytes, in a collection that nothing shows.
            assert [name for name, dump in documents.items() if form.encode() in dump] == [], f"stored: {secret}"
