"""The collection `idempotency`: who may claim a key, until when, and whose answer counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from ml.database.client import database_of
from ml.errors import KeyReused
from ml.idempotency.answers import StoredAnswer
from ml.idempotency.claims import Claim, KeyedRequest, first_id
from ml.idempotency.keys import Keys, Pending
from tests.integration.rest import Client
from tests.waiting import until

ASKED = KeyedRequest("alice", "/inputs", "k", b"\1" * 32)
ANSWER = StoredAnswer(201, [("Location", "/inputs/1"), ("X", "$literal")], b'{"$a": 1}\n')


@pytest.fixture
def make(client: Client) -> Iterator[Callable[..., Keys]]:
    made: list[Keys] = []

    def keys(**kwargs: Any) -> Keys:
        made.append(Keys(database_of(client), **kwargs))
        return made[-1]

    yield keys
    for each in made:
        each.close()


@pytest.fixture
def keys(make: Callable[..., Keys]) -> Keys:
    return make()


@pytest.fixture
def documents(client: Client) -> Any:
    return database_of(client)["idempotency"]


def claimed(keys: Keys, asked: KeyedRequest = ASKED) -> Claim:
    claim = keys.claim(asked)
    assert isinstance(claim, Claim)
    return claim


def out_of_lease(documents: Any, claim: Claim) -> None:
    documents.update_one({"_id": claim.id}, {"$set": {"lease": datetime(2000, 1, 1, tzinfo=UTC)}})


def test_of_many_that_claim_a_key_at_once_one_has_it(make: Callable[..., Keys], documents: Any) -> None:
    processes = [make() for _ in range(8)]
    for round_ in range(10):
        asked = KeyedRequest("alice", "/inputs", str(round_), b"\1")
        found: list[Any] = []
        barrier = threading.Barrier(len(processes))

        def claim(keys: Keys, asked: KeyedRequest = asked, found: Any = found, barrier: Any = barrier) -> None:
            barrier.wait()
            found.append(keys.claim(asked))

        threads = [threading.Thread(target=claim, args=(keys,)) for keys in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        claims = [each for each in found if isinstance(each, Claim)]
        assert len(found) == 8
        assert len(claims) == 1
        assert all(isinstance(each, Pending) and each.fence == claims[0].fence for each in found if each != claims[0])


def test_an_answer_is_kept_as_it_was(keys: Keys, documents: Any) -> None:
    claim = claimed(keys)
    assert not claim.again
    assert keys.finish(claim, ANSWER)
    assert keys.claim(ASKED) == ANSWER
    (key,) = documents.find()
    assert (key["owner"], key["path"], key["key"], key["state"]) == ("alice", "/inputs", "k", "done")
    assert "lease" not in key


def test_another_request_may_not_have_the_key_whatever_its_state(keys: Keys, documents: Any) -> None:
    other = KeyedRequest("alice", "/inputs", "k", b"\2" * 32)
    claim = claimed(keys)
    for change in (lambda: None, lambda: out_of_lease(documents, claim), lambda: keys.finish(claim, ANSWER)):
        change()
        with pytest.raises(KeyReused):
            keys.claim(other)
    assert isinstance(claimed(keys, KeyedRequest("bob", "/inputs", "k", b"\2")), Claim)
    assert isinstance(claimed(keys, KeyedRequest("alice", "/jobs", "k", b"\2")), Claim)
    assert isinstance(claimed(keys, KeyedRequest("alice", "/inputs", "K", b"\2")), Claim)


def test_one_whose_lease_ran_out_is_taken_over_and_its_first_holder_can_write_no_more(
    keys: Keys, documents: Any
) -> None:
    first = claimed(keys)
    pending = keys.claim(ASKED)
    assert isinstance(pending, Pending)
    assert keys.under_way(pending)
    out_of_lease(documents, first)
    assert not keys.under_way(pending)
    second = claimed(keys)
    assert (second.again, second.first, second.fence != first.fence) == (True, first.first, True)
    before = list(documents.find())
    assert not keys.finish(first, ANSWER)
    keys.let_go(first)
    keys.forget(first)
    assert list(documents.find()) == before
    other = StoredAnswer(200, [], b"the second's")
    assert keys.finish(second, other)
    assert not keys.finish(second, ANSWER)  # nor is an answer ever another
    assert keys.claim(ASKED) == other


def test_what_was_let_go_is_had_at_once_and_makes_the_same_ids(keys: Keys) -> None:
    first = claimed(keys)
    ids = [first.new_id() for _ in range(3)]
    keys.let_go(first)
    second = claimed(keys)
    assert second.again
    assert second.next_ids(3) == [second.new_id() for _ in range(3)] == ids
    assert second.next_ids(1) == [second.new_id()]


def test_what_was_forgotten_is_new(keys: Keys, documents: Any) -> None:
    first = claimed(keys)
    keys.forget(first)
    assert documents.count_documents({}) == 0
    second = claimed(keys, KeyedRequest(ASKED.owner, ASKED.path, ASKED.key, b"another"))
    assert (second.id, second.again, second.first != first.first) == (first.id, False, True)


def test_ids_count_on_beyond_the_largest_number() -> None:
    claim = Claim(ObjectId(), ObjectId(), ObjectId("01020304" + "ff" * 8), again=False)
    assert [str(id_) for id_ in claim.next_ids(2)] == ["01020304" + "ff" * 8, "01020304" + "00" * 8]
    assert len({first_id() for _ in range(100)}) == 100


def test_a_lease_is_renewed_while_the_claim_is_held_however_long(make: Callable[..., Keys], documents: Any) -> None:
    keys = make(lease_seconds=0.3)
    held, dropped = claimed(keys), claimed(keys, KeyedRequest("bob", "/inputs", "k", b""))
    seen = {document["_id"]: document["lease"] for document in documents.find()}

    def renewed(claim: Claim) -> bool:
        return bool(documents.find_one({"_id": claim.id})["lease"] > seen[claim.id])

    until(lambda: renewed(held))
    keys.drop(dropped)
    until(lambda: isinstance(keys.claim(KeyedRequest("bob", "/inputs", "k", b"")), Claim))
    assert isinstance(keys.claim(ASKED), Pending)
    keys.drop(held)
    until(lambda: isinstance(keys.claim(ASKED), Claim))


def test_a_renewal_that_comes_late_gives_no_lease_to_what_was_let_go(make: Callable[..., Keys], documents: Any) -> None:
    keys = make(lease_seconds=0.03)
    other = claimed(keys, KeyedRequest("bob", "/inputs", "k", b""))
    claim = claimed(keys)
    keys.let_go(claim)  # and not yet dropped
    lease = documents.find_one({"_id": other.id})["lease"]
    until(lambda: documents.find_one({"_id": other.id})["lease"] > lease)
    assert "lease" not in documents.find_one({"_id": claim.id})


def test_mongodb_removes_what_has_expired(documents: Any) -> None:
    index = documents.index_information()["expires"]
    assert (index["key"], index["expireAfterSeconds"]) == ([("expires", 1)], 0)
