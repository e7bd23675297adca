"""The audit as a page: the newest first, as sentences of who did what; and lists that are opened begin with the new."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId

from api.console.audit_table import COLUMNS, audit_rows
from ml.audit.entries import Entry, commanded
from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.console.browser import Page, Visitor
from tests.integration.identity.people import MATCH
from tests.integration.rest import ROW, Client

ID = "6b00e4c0d035a01704bf37b5"
HOSTILE = "<script>alert(1)</script>"


def rows(page: Page) -> list[list[str]]:
    """The table's cells, as text."""
    found = re.findall(r"<tr>(.*?)</tr>", page.source.partition("<tbody>")[2], re.DOTALL)
    return [[_text(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in found]


def ids_on(page: Page) -> list[str]:
    """The inputs of a list, in order."""
    links = [href.rpartition("/")[2] for _, href in page.links if href.startswith("/api/v1/inputs/")]
    return [link for link in links if ObjectId.is_valid(link)]


def _text(source: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]+>", "", source)).split())


def test_the_newest_entry_is_first_and_leads_to_what_it_is_about(admin: Api, visitor: Visitor) -> None:
    made = admin.post("inputs", json={"data": ROW, "tags": ["draft"]}).json["_id"]
    assert admin.patch(f"inputs/{made}", json={"tags": ["final"]}, headers=MATCH).status_code == 200
    page = visitor.page("/api/v1/audit")
    changed, created, login = rows(page)[:3]
    tail = made[-8:]
    assert changed[1:6] == [
        "admin (administrator's key)",
        f"changed input …{tail}: tags",
        "admin",
        "done 200",
        "127.0.0.1",
    ]
    assert (created[2], created[4]) == (f"made input …{tail}", "done 201")
    assert (login[2], login[4]) == ("logged in", "done 303")
    assert page.link(f"input …{tail}") == f"/api/v1/inputs/{made}"
    entry = page.link(changed[0])
    assert visitor.page(page.link("admin")).status == 200
    # The entry itself leads there, too.
    assert visitor.page(entry).link(made) == f"/api/v1/inputs/{made}"
    # Without what was projected away there are no sentences.
    plain = visitor.page('/api/v1/audit?projection={"action":1}&sort=-_id')
    assert rows(plain)[0][1] == "change"


WORDS: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
    ({"action": "delete", "resource": "inputs", "documents": [ID], "count": 1, "status": 204},
     ("", "deleted input …04bf37b5", "done 204")),
    ({"action": "create", "resource": "inputs", "documents": [ID, ID], "count": 1000, "status": 201},
     ("", "made 1,000 inputs", "done 201")),
    ({"action": "refuse", "status": 401, "count": 1200, "by": {"via": "nothing"}, "target": "GET /api/v1/keys"},
     ("somebody who showed nothing", "was refused: GET /api/v1/keys, 1,200 times", "not let in 401")),
    ({"action": "refuse", "status": 429, "count": 1,
      "by": {"owner": "bob", "role": "user", "via": "key", "key": "alm_abcd"}},
     ("bob (user, key alm_abcd)", "was refused", "too many requests 429")),
    ({"action": "erase", "count": 12, "by": {"role": "admin", "via": "command line", "user": "root"}},
     ("root at the command line", "began to erase 12 documents", "done")),
    ({"action": "rotate", "resource": "webhook secret", "count": 0, "status": 200,
      "by": {"owner": "admin", "role": "admin", "via": "link"}},
     ("admin (link)", "replaced a webhook secret", "done 200")),
    ({"action": HOSTILE, "resource": HOSTILE, "documents": [HOSTILE], "count": 1, "by": HOSTILE, "status": "x"},
     ("", f"{HOSTILE} {HOSTILE} …/script>", "done")),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "words"), WORDS)
def test_an_entry_in_words(entry: dict[str, Any], words: tuple[str, str, str]) -> None:
    (row,) = audit_rows([{"_id": ID, "_created": "2026-01-01T12:00:00.000Z", **entry}])
    cells = dict(zip(COLUMNS, row, strict=True))
    assert "<script" not in "".join(row)
    assert tuple(_text(cells[name]) for name in ("who", "what", "outcome")) == words


def test_every_kind_of_entry_that_is_written_is_a_page(admin: Api, client: Client, visitor: Visitor) -> None:
    db = database_of(client)
    commanded("erase", None).write(db, [], "eve", count=3)
    Entry("change", "models", {"owner": "admin", "via": "build"}, changed=tuple("abcdefg")).write(db, [ObjectId()], "a")
    db["audit"].insert_one({"by": [1], "documents": "x", "count": "many", "changed": {"a": 1}, "action": None})
    assert "models" not in rows(visitor.page("/api/v1/audit"))[1][2]
    assert "a, b, c, d, e …" in visitor.page("/api/v1/audit").text


def test_a_list_that_is_opened_begins_with_what_is_new(
    admin: Api, visitor: Visitor, person: Callable[..., Visitor]
) -> None:
    for n in range(3):
        admin.post("inputs", json={"data": [n]})
    ids = [item["_id"] for item in admin.get("inputs").json["_items"]]
    page = visitor.page("/api/v1/inputs")
    assert ids_on(page) == ids[::-1]
    assert "/api/v1/inputs?sort=-_id'" in html.unescape(page.text), "the request that is shown"
    assert (page.form("Show").get("sort"), page.form("Show").get("order")) == ("_id", "down")
    assert "sort=-_created" in person().page("/api/v1/results").text
    # Whatever is asked for is done as it is for programs.
    assert ids_on(visitor.page("/api/v1/inputs?max_results=2")) == ids[:2]
    assert visitor.open("/api/v1/inputs/000000000000000000000000").status_code == 404
    assert visitor.open("/api/v1/keys", "HEAD").status_code == 200
    assert person().open("/api/v1/keys").status_code == 403
