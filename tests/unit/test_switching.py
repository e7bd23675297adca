"""What stands in for a version that is not loaded yet, and what names will mean after a change."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from ml.switching import changed, stand_ins
from ml.versions import Key, Snapshot, Version


def snapshot(states: dict[int, str], **aliases: int) -> Snapshot:
    """The name `m` with these versions and aliases."""
    versions = {number: Version(ObjectId(), "m", number, state, None, {}) for number, state in states.items()}
    return Snapshot({"m": versions}, {"m": aliases})


BOTH = {1: "available", 2: "available"}
NAME: Any = ("m", None)
STABLE: Any = ("m", "stable")


def keys(*numbers: int) -> set[Key]:
    return {("m", number) for number in numbers}


def test_what_was_meant_before_stands_in_until_the_new_one_is_live() -> None:
    before, after = snapshot(BOTH, stable=1), snapshot(BOTH, stable=2)
    assert stand_ins(before, {}, after, keys(1)) == {STABLE: ("m", 1), NAME: ("m", 1)}
    assert stand_ins(before, {}, after, keys(1, 2)) == {}


def test_a_bare_name_goes_on_meaning_the_former_newest() -> None:
    before, after = snapshot({1: "available", 2: "loading"}), snapshot(BOTH)
    assert stand_ins(before, {}, after, keys(1)) == {NAME: ("m", 1)}


def test_what_stands_in_goes_on_doing_so_through_several_changes() -> None:
    three = {**BOTH, 3: "available"}
    second, third = snapshot(three, stable=2), snapshot(three, stable=3)
    standing = stand_ins(snapshot(three, stable=1), {}, second, keys(1))
    assert stand_ins(second, standing, second, keys(1)) == standing
    assert stand_ins(second, standing, third, keys(1)) == standing
    assert stand_ins(second, standing, third, keys(1, 2))[STABLE] == ("m", 2)


@pytest.mark.parametrize("state", ["retired", "failed", "loading"])
def test_only_what_is_live_and_available_stands_in(state: str) -> None:
    before = snapshot(BOTH, stable=1)
    assert stand_ins(before, {}, snapshot(BOTH, stable=2), keys()) == {}
    assert stand_ins(before, {}, snapshot({1: state, 2: "available"}, stable=2), keys(1)) == {}
    assert stand_ins(before, {STABLE: ("m", 1)}, snapshot({2: "available"}, stable=2), keys(1)) == {}
    assert stand_ins(Snapshot(), {}, snapshot(BOTH, stable=2), keys(1)) == {}


def meant(after: Snapshot) -> dict[str | None, int]:
    return {alias: version.number for alias, version in after.meanings("m").items()}


def test_what_names_will_mean() -> None:
    now = snapshot(BOTH, stable=1, old=1)
    assert meant(changed(now, ("m", 2), ["stable", "next"])) == {None: 2, "stable": 2, "old": 1, "next": 2}
    assert meant(changed(now, ("m", 1), ["old"])) == {None: 2, "old": 1}
    assert meant(changed(now, ("m", 1), None)) == meant(now) == {None: 1, "stable": 1, "old": 1}
    assert meant(changed(now, ("m", 1), None, retired=True)) == {None: 2}
    assert meant(changed(now, ("m", 7), ["stable"])) == meant(now)
    assert meant(changed(snapshot({1: "available"}), ("m", 1), None, retired=True)) == {None: 1}
