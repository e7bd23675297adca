"""A browser without scripts, as far as tests need one: it keeps cookies, reads forms as they are, and sends them."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
VOID = frozenset({"input", "meta", "link", "img", "br"})


@dataclass
class HtmlForm:
    """A form of a page, with what its fields hold."""

    action: str
    method: str
    id: str = ""
    kind: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)

    def get(self, name: str) -> str:
        return next(value for key, value in self.fields if key == name)

    def names(self) -> list[str]:
        return [name for name, _ in self.fields]


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self, answer: TestResponse) -> None:
        super().__init__()
        self.answer = answer
        self.status = answer.status_code
        self.source = answer.text
        self.forms: list[HtmlForm] = []
        self.links: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self._select: tuple[str, list[tuple[str, bool]]] | None = None
        self._area: str | None = None
        self._option: dict[str, str] | None = None
        self._data = ""
        self.feed(self.source)
        assert not self._open, f"not closed: {self._open}"
        assert len(set(self.ids)) == len(self.ids), "an id is there twice"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if "id" in given:
            self.ids.append(given["id"])
        if tag not in VOID:
            self._open.append(tag)
        if tag == "form":
            self.forms.append(
                HtmlForm(given["action"], given.get("method", "get"), given.get("id", ""), given.get("enctype", ""))
            )
        if tag == "input" and given.get("type") != "file":
            checked = given.get("type") not in ("checkbox", "radio") or "checked" in given
            if checked and "name" in given:
                self.forms[-1].fields.append((given["name"], given.get("value", "")))
        if tag == "select":
            self._select = (given["name"], [])
        if tag == "option":
            self._option = given
        if tag == "textarea":
            self._area = given["name"]
        self._data = ""

    def handle_data(self, data: str) -> None:
        self._data += data
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "option" and self._select is not None and self._option is not None:
            self._select[1].append((self._option.get("value", self._data.strip()), "selected" in self._option))
        if tag == "select" and self._select is not None:
            name, options = self._select
            chosen = [value for value, selected in options if selected] or [options[0][0]]
            self.forms[-1].fields.append((name, chosen[-1]))
            self._select = None
        if tag == "textarea" and self._area is not None:
            self.forms[-1].fields.append((self._area, self._data.removeprefix("\n").replace("\n", "\r\n")))
            self._area = None
        if tag == "button" and self.forms:
            self.forms[-1].buttons.append(" ".join(self._data.split()))
        if tag == "a":
            href = next(given["href"] for name, given in reversed(self.tags) if name == "a")
            self.links.append((" ".join(self._data.split()), href))

    def form(self, id_: str) -> HtmlForm:
        """The form with this id, or with a button that says this."""
        found = [form for form in self.forms if form.id == id_ or id_ in form.buttons]
        assert len(found) == 1, (id_, [(form.id, form.buttons) for form in self.forms])
        return found[0]

    def has_form(self, id_: str) -> bool:
        return any(form.id == id_ or id_ in form.buttons for form in self.forms)

    def link(self, words: str) -> str:
        return next(href for text, href in self.links if text == words)


class Visitor:
    """Somebody at a browser."""

    def __init__(self, http: FlaskClient, **environ: Any) -> None:
        # A jar of cookies of its own.
        self.http = http.application.test_client()
        self.headers: dict[str, str] = {"Accept": ACCEPT}
        self.environ = environ

    @property
    def session(self) -> str:
        """The cookie of its session."""
        cookie = self.http.get_cookie(self._session)
        assert cookie is not None
        return cookie.value

    @session.setter
    def session(self, value: str) -> None:
        self.http.set_cookie(self._session, value)

    @property
    def _session(self) -> str:
        return str(self.http.application.config["SESSION_COOKIE_NAME"])

    def open(self, path: str, method: str = "GET", follow: bool = True, **kwargs: Any) -> TestResponse:
        headers = {**self.headers, **kwargs.pop("headers", {})}
        answer: TestResponse = self.http.open(
            path, method=method, headers=headers, environ_base=self.environ, follow_redirects=follow, **kwargs
        )
        return answer

    def page(self, path: str) -> Page:
        """The page at an address, and where it leads by itself."""
        return Page(self.open(html.unescape(path)))

    def send(self, form: HtmlForm, changed: dict[str, Any] | None = None, follow: bool = True) -> TestResponse:
        """Fill in a form and send it; a list stands for fields of one name."""
        changed = changed or {}
        data: dict[str, Any] = {}
        for name, value in form.fields:
            if name not in changed:
                data.setdefault(name, []).append(value)
        for name, value in changed.items():
            data[name] = value
        if form.method == "get":
            return self.open(form.action, query_string=data, follow=follow)
        kind = {"content_type": form.kind} if form.kind else {}
        return self.open(form.action, "POST", follow, data=data, headers={"Origin": "http://localhost"}, **kind)

    def sent(self, form: HtmlForm, changed: dict[str, Any] | None = None) -> Page:
        """The page that a form leads to."""
        return Page(self.send(form, changed))

    def log_in(self, **fields: str) -> Page:
        """With `name` and `password`, or with `key`."""
        page = self.page("/login")
        form = page.form("Log in with the key" if "key" in fields else "Log in")
        return self.sent(form, fields)
