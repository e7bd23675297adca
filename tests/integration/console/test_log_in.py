"""Sessions of browsers: begun with a password, a key or a link, and ended with it; no other site acts in one's name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from api.auth.browsers import cookie_name
from api.auth.sessions import sessions_of
from ml.database.client import database_of
from ml.identity import identity
from ml.identity.keys import create_key
from settings import Settings
from tests.conftest import ADMIN_KEY, Api
from tests.integration.console.browser import Page, Visitor
from tests.integration.console.conftest import SECRET
from tests.integration.identity.people import MATCH, PASSWORD, make_key, make_user
from tests.integration.rest import ROW, Client, stored

HOME = "/"


def is_in(visitor: Visitor) -> bool:
    """Whether a browser is logged in, as the server sees it."""
    answer = visitor.open(HOME, follow=False)
    assert answer.status_code in (200, 303)
    assert answer.status_code == 200 or answer.headers["Location"].startswith("/login?next=")
    return answer.status_code == 200


def link(admin: Api) -> str:
    token = admin.http.application.extensions["browsers"].sessions.make_link()
    return f"/login?token={token}"


def test_a_stranger_is_led_to_the_form_and_from_there_to_where_it_wanted(admin: Api) -> None:
    make_user(admin)
    stranger = Visitor(admin.http)
    wanted = "/api/v1/inputs?sort=-_id&max_results=5"
    moved = stranger.open(wanted, follow=False)
    assert moved.status_code == 303
    page = stranger.page(moved.headers["Location"])
    assert (page.status, page.answer.request.path) == (200, "/login")
    answer = stranger.send(page.form("Log in"), {"name": "bob", "password": PASSWORD}, follow=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, wanted)
    assert "bob" in stranger.page(wanted).text
    # Programs are not led anywhere.
    assert admin.as_caller(None).get("inputs").status_code == 401


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example/",
        "https://evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil",
        "/\t/evil.example", "/\n/evil.example", " //evil.example", "/logout", "/login?next=/x", "/" + "x" * 3000,
        "/%0d%0aSet-Cookie:a=b\r\nX: y",
    ],
)  # fmt: skip
def test_nobody_is_led_to_another_place(admin: Api, wanted: str) -> None:
    stranger = Visitor(admin.http)
    page = Page(stranger.open("/login", query_string={"next": wanted}))
    form = page.form("Log in with the key")
    for given in (form.get("next"), wanted):
        answer = stranger.send(form, {"key": ADMIN_KEY, "next": given}, follow=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, HOME)
        form = stranger.page("/login").form("Log in with the key")


def test_the_cookie_holds_no_secret_and_is_no_scripts(admin: Api, replica: Callable[..., Api]) -> None:
    key = make_key(admin)["key"]
    stranger = Visitor(admin.http)
    form = stranger.page("/login").form("Log in with the key")
    answer = stranger.send(form, {"key": key}, follow=False)
    (cookie,) = answer.headers.getlist("Set-Cookie")
    parts = {part.strip().partition("=")[0] for part in cookie.split(";")[1:]}
    assert {"HttpOnly", "SameSite", "Path", "Expires"} == parts
    assert "SameSite=Lax" in cookie
    assert key not in cookie
    session = stored_session(admin)
    assert key not in json.dumps(session, default=str)
    # Over TLS, of its own or a proxy's, it goes nowhere else.
    tls = replica(tls_cert="cert.pem", tls_key="key.pem").http.get("/login").headers["Set-Cookie"]
    assert tls.startswith("__Host-almanac-")
    assert {"Secure", "Path=/"} <= {part.strip() for part in tls.split(";")}
    assert "Domain" not in tls
    proxied = admin.http.get("/login", headers={"Origin": "https://almanac.example.com"})
    assert "Secure" in proxied.headers["Set-Cookie"]
    assert "Secure" not in admin.http.application.test_client().get("/login").headers["Set-Cookie"]


def stored_session(admin: Api) -> dict[str, Any]:
    (found,) = admin.http.application.extensions["service"].db["sessions"].find({"kind": "session"})
    return dict(found)


def test_a_session_is_another_one_after_log_in_and_none_after_log_out(admin: Api, replica: Callable[..., Api]) -> None:
    one = Visitor(admin.http)
    before = one.page("/login").form("Log in").get("csrf_token")
    one.log_in(key=ADMIN_KEY)
    page = one.page(HOME)
    assert page.form("Log out").get("csrf_token").partition(".")[0] != before.partition(".")[0]
    copy = Visitor(replica().http)
    copy.session = one.session
    assert is_in(copy)
    assert one.sent(page.form("Log out")).answer.request.path == "/login"
    assert not is_in(one)
    # On the server, not in the browser alone.
    assert not is_in(copy)


def test_two_servers_on_one_host_are_logged_in_to_at_once(admin: Api, replica: Callable[..., Api]) -> None:
    """Browsers send the cookies of a host to each of its ports."""
    another = replica(secret_key="a secret of another, which is long enough").http
    names = {app.application.config["SESSION_COOKIE_NAME"] for app in (admin.http, replica().http, another)}
    assert len(names) == 2, "replicas have one, another instance has its own"
    assert cookie_name("x", "almanac", tls=False) != cookie_name("x", "another", tls=False)
    one, other = Visitor(admin.http), Visitor(another)
    one.log_in(key=ADMIN_KEY)
    # What the host's cookies are by now goes to the other, which logs in and answers with its own.
    other.http.set_cookie(admin.http.application.config["SESSION_COOKIE_NAME"], one.session)
    other.log_in(key=ADMIN_KEY)
    one.http.set_cookie(another.application.config["SESSION_COOKIE_NAME"], other.session)
    assert is_in(one)
    assert is_in(other)


def test_a_made_up_cookie_is_nobodys(admin: Api, visitor: Visitor) -> None:
    cookie = visitor.session
    assert is_in(visitor)
    for value in ("x", cookie[:-1], cookie + "x", cookie.partition(".")[0], ""):
        other = Visitor(admin.http)
        other.session = value
        assert not is_in(other)


@pytest.mark.parametrize("what", ["revoked", "rotated", "expired", "deleted in the database"])
def test_a_session_ends_with_its_key(admin: Api, client: Client, what: str) -> None:
    made = make_key(admin)
    one = Visitor(admin.http)
    one.log_in(key=made["key"])
    assert is_in(one)
    path = f"keys/{made['_id']}"
    if what == "revoked":
        assert admin.delete(path, headers=MATCH).status_code == 204
    elif what == "rotated":
        assert admin.post(f"{path}/rotate", json={"grace_seconds": 0}).status_code == 200
    elif what == "expired":
        database_of(client)["keys"].update_one({"prefix": made["prefix"]}, [{"$set": {"expires": "$$NOW"}}])
    else:
        database_of(client)["keys"].delete_one({"prefix": made["prefix"]})
    assert not is_in(one)


@pytest.mark.parametrize("change", [{"disabled": True}, {"password": "nine tame walruses yodel"}, None])
def test_a_session_ends_with_its_users_password(admin: Api, change: Any) -> None:
    made = make_user(admin)
    one = Visitor(admin.http)
    one.log_in(name="bob", password=PASSWORD)
    assert is_in(one)
    path = f"users/{made['_id']}"
    # Another role holds at once, and is no other password.
    assert one.page("/api/v1/inputs").has_form("post-fields")
    assert admin.patch(path, json={"role": "reader"}, headers=MATCH).status_code == 200
    assert not one.page("/api/v1/inputs").has_form("post-fields")
    answer = admin.patch(path, json=change, headers=MATCH) if change else admin.delete(path, headers=MATCH)
    assert answer.status_code in (200, 204)
    assert not is_in(one)


def test_sessions_of_the_administrator_end_with_its_key_or_the_secret(
    visitor: Visitor, replica: Callable[..., Api]
) -> None:
    for settings, there in (
        ({}, True),
        ({"admin_key": "another key of the administrator"}, False),
        ({"secret_key": "another secret of tests, which is long"}, False),
    ):
        other = Visitor(replica(**settings).http)
        other.session = visitor.session
        assert is_in(other) is there


def test_a_session_ends_by_itself(visitor: Visitor, client: Client) -> None:
    sessions = database_of(client)["sessions"]
    session = sessions.find_one({"kind": "session"}) or {}
    lasts = session["expires"] - session["at"]
    assert 11 <= lasts.total_seconds() / 3600 <= 13
    sessions.update_many({}, [{"$set": {"expires": "$$NOW"}}])
    assert not is_in(visitor)


def test_wrong_log_ins_say_so_and_are_throttled_as_those_of_programs(
    admin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user(admin)
    monkeypatch.setattr(identity, "is_password", lambda given, stored: given == PASSWORD)
    stranger = Visitor(admin.http)
    page = stranger.log_in(name="bob", password="wrong")
    assert page.status == 401
    assert "The name or the password is wrong." in page.text
    assert page.form("Log in").get("name") == "bob"
    codes = [stranger.log_in(name="bob", password=f"wrong {n}").status for n in range(identity.MOST_OF_NAME)]
    assert codes == [401] * (identity.MOST_OF_NAME - 1) + [429]
    # The right one is not tried either, and other forms say the same.
    page = stranger.log_in(name="bob", password=PASSWORD)
    assert page.status == 429
    assert int(page.answer.headers["Retry-After"]) > 50
    codes = [stranger.log_in(key="alm_" + f"{n:043}").status for n in range(identity.MOST_OF_ADDRESS)]
    assert codes[0] == 401
    assert codes[-1] == 429
    assert Visitor(admin.http).log_in(key="").status == 401


def test_a_link_logs_in_once(admin: Api, replica: Callable[..., Api], client: Client) -> None:
    path = link(admin)
    assert path.partition("=")[2] not in json.dumps(list(database_of(client)["sessions"].find()), default=str)
    # Looking at it does not use it up, and another process may be asked.
    assert admin.as_caller(None).head(path).status_code == 200
    other = replica()
    first, second = Visitor(other.http), Visitor(admin.http)
    assert "admin" in first.page(path).text
    assert is_in(first)
    page = second.page(path)
    assert page.status == 403
    assert "used already" in page.text
    assert not is_in(second)
    late = link(admin)
    database_of(client)["sessions"].update_many({"kind": "link"}, [{"$set": {"expires": "$$NOW"}}])
    assert second.page(late).status == 403
    # A session's own name is no link, nor the other way round.
    token = admin.http.application.extensions["browsers"].sessions.make_link()
    assert admin.http.application.extensions["browsers"].sessions.caller_of(token) is None


def test_log_in_needs_the_forms_token(admin: Api) -> None:
    stranger = Visitor(admin.http)
    form = stranger.page("/login").form("Log in with the key")
    for token in ("", "x", form.get("csrf_token")[:-1]):
        page = stranger.sent(form, {"key": ADMIN_KEY, "csrf_token": token})
        assert page.status == 403
        assert not is_in(stranger)
    # Another site's form comes without the cookie.
    bare = Visitor(admin.http)
    assert bare.sent(form, {"key": ADMIN_KEY}).status == 403
    assert not is_in(bare)


def test_writes_in_a_sessions_name_need_its_token(visitor: Visitor, admin: Api, client: Client) -> None:
    made = admin.post("inputs", json={"data": ROW}).json
    token = re.findall(r'<meta name="csrf-token" content="([^"]+)"', visitor.page(HOME).source)[0]
    other = Visitor(admin.http)
    other.log_in(key=ADMIN_KEY)
    others = other.page(HOME).form("Log out").get("csrf_token")
    send = visitor.http.open
    path = f"/api/v1/inputs/{made['_id']}"
    for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": others}):
        assert send("/api/v1/inputs", method="POST", json={"data": ROW}, headers=headers).status_code == 403
        assert send(path, method="DELETE", headers={**headers, **MATCH}).status_code == 403
        predicted = send("/api/v1/models/sums/predict", method="POST", json={"instances": [ROW]}, headers=headers)
        assert predicted.status_code == 403
    assert len(stored(client, "inputs")) == 1
    # A form cannot be sent to the API itself: not even with the token.
    plain = send("/api/v1/inputs", method="POST", data={"csrf_token": token}, headers={"X-CSRF-Token": token})
    assert plain.status_code == 415
    answer = send("/api/v1/inputs", method="POST", json={"data": ROW}, headers={"X-CSRF-Token": token})
    assert answer.status_code == 201
    assert send("/api/v1/inputs", headers={"Accept": "application/json"}).json["_items"]
    # Who says by a header who asks is asked for no token.
    assert admin.post("inputs", json={"data": ROW}).status_code == 201


def test_log_out_needs_the_token(visitor: Visitor) -> None:
    form = visitor.page(HOME).form("Log out")
    assert visitor.send(form, {"csrf_token": "x"}).status_code == 403
    assert is_in(visitor)


def test_without_a_secret_pages_say_what_to_set(client: Client, replica: Callable[..., Api]) -> None:
    api = replica(secret_key=None)
    stranger = Visitor(api.http)
    page = stranger.page("/login")
    assert "ALMANAC_SECRET_KEY" in page.text
    assert page.forms == []
    token = api.http.application.extensions["browsers"].sessions.make_link()
    assert stranger.page(f"/login?token={token}").status == 403


def test_with_auth_off_nobody_logs_in_and_forms_have_tokens_all_the_same(replica: Callable[..., Api]) -> None:
    open_to_all = Visitor(replica(auth="off").http)
    page = open_to_all.page("/api/v1/inputs")
    assert page.status == 200
    form = page.form("post-fields")
    assert open_to_all.send(form, {"f.data": "[1]", "csrf_token": "x"}).status_code == 403
    assert open_to_all.send(form, {"f.data": "[1]"}, follow=False).status_code == 303
    foreign = open_to_all.open(form.action, "POST", data=dict(form.fields), headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403


def test_the_link_that_serve_prints_is_made_as_the_server_knows_it(client: Client, replica: Callable[..., Api]) -> None:
    """`serve` is another process: it makes the link from the settings alone."""
    settings = Settings(admin_key=ADMIN_KEY, secret_key=SECRET, _env_file=None)
    token = sessions_of(settings, database_of(client)).make_link()
    visitor = Visitor(replica().http)
    assert visitor.page(f"/login?token={token}").status == 200
    assert is_in(visitor)


def test_who_logs_in_and_out_is_in_the_audit(admin: Api, client: Client) -> None:
    make_user(admin)
    [user] = stored(client, "users")
    key, token = create_key(database_of(client), "reader", "alice")
    for given in ({"name": "bob", "password": PASSWORD}, {"key": token}, {"key": ADMIN_KEY}):
        visitor = Visitor(admin.http)
        assert visitor.log_in(**given).status == 200
        visitor.send(visitor.page(HOME).form("Log out"))
    by_link = Visitor(admin.http)
    by_link.open(link(admin), follow=False)
    assert Visitor(admin.http).log_in(name="bob", password="not this one").status == 401
    entries = [entry for entry in stored(client, "audit") if entry["action"] in ("login", "logout")]
    found = [(e["action"], e["by"]["via"], e["by"]["owner"], e.get("resource"), e.get("documents")) for e in entries]
    assert found == [
        ("login", "password", "bob", "users", [user["_id"]]),
        ("logout", "password", "bob", "users", [user["_id"]]),
        ("login", "key", "alice", "keys", [key["_id"]]),
        ("logout", "key", "alice", "keys", [key["_id"]]),
        ("login", "administrator's key", "admin", None, None),
        ("logout", "administrator's key", "admin", None, None),
        ("login", "link", "admin", None, None),
    ]
    assert all(entry["request"] and entry["address"] == "127.0.0.1" for entry in entries)
    admin.http.application.extensions["service"].refusals.close()
    [refused] = [entry for entry in stored(client, "audit") if entry["action"] == "refuse" and entry["status"] == 401]
    assert (refused["by"]["via"], refused["owner"]) == ("password", "bob")
