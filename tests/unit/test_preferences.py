"""The header Prefer, in every form that it may come in."""

from __future__ import annotations

import time

import pytest

from api.preferences import LONGEST, parse


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("wait=30", {"wait": "30"}),
        ("Wait=30", {"wait": "30"}),
        (' wait = "30" ', {"wait": "30"}),
        ("respond-async", {"respond-async": ""}),
        ("respond-async=", {"respond-async": ""}),
        ('respond-async=""', {"respond-async": ""}),
        ("respond-async, wait=10", {"respond-async": "", "wait": "10"}),
        ("wait=1, wait=2", {"wait": "1"}),
        ('foo="a, wait=5"; some="x;y", wait=10;strict', {"foo": "a, wait=5", "wait": "10"}),
        (r'foo="a\"b\\", wait=1', {"foo": 'a"b\\', "wait": "1"}),
        (",, ;x, wait=1 ,", {"wait": "1"}),
        ("wait=1 2, wait=3", {"wait": "3"}),
        ("a b, =5, (wait)=1", {}),
        ('wait="1', {}),
        ('"wait"=1', {}),
        ("wait==1", {}),
        ("", {}),
        ("wait=1" + " " * LONGEST, {}),
    ],
)
def test_what_is_preferred(header: str, found: dict[str, str]) -> None:
    assert parse(header) == found


def test_a_header_made_to_be_slow_is_not() -> None:
    began = time.process_time()
    for piece in ('"', '\\"', "a=", ";", '";', "a=b;c "):
        parse((piece * LONGEST)[:LONGEST])
    assert time.process_time() - began < 0.5
