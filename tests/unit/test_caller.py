"""What a caller sees of each resource, and which models it may use."""

from __future__ import annotations

from ml.identity.caller import ADMIN, NOTHING, OWNED, SHARED, Caller


def test_owned_documents_by_owner_models_for_all_and_nothing_else() -> None:
    alice = Caller("alice", "editor")
    assert all(alice.scope(name) == {"owner": "alice"} for name in OWNED)
    assert all(alice.scope(name) == {} for name in SHARED)
    for name in ("keys", "users", "audit", "registry", ""):
        assert alice.scope(name) == NOTHING
        assert ADMIN.scope(name) == {}


def test_a_scope_is_ones_own_to_change() -> None:
    alice = Caller("alice", "user")
    alice.scope("keys").clear()
    assert alice.scope("keys") == {"_id": {"$in": []}}


def test_a_key_without_models_is_for_all() -> None:
    assert Caller("alice", "user").may_use("sums")
    held = Caller("alice", "user", frozenset({"sums"}))
    assert held.may_use("sums")
    assert not held.may_use("sum")
