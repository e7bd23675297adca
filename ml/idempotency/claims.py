"""One request's hold on its key, and the `_id`s of what it makes: the same ones however often it is run."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from bson import ObjectId

from ml.database.documents import identity

_SPAN = 2**64


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with an Idempotency-Key: whose it is, where it went, and a digest of all that its answer hangs on."""

    owner: str
    path: str
    key: str
    fingerprint: bytes

    @property
    def id(self) -> ObjectId:
        """The `_id` of its key: another owner's or path's same key is another."""
        return identity("idempotency", self.owner, self.path, self.key)


@dataclass(slots=True, eq=False)
class Claim:
    """A key that is this request's to answer, until its lease runs out."""

    id: ObjectId
    #: Made anew for each claim; only who has the present one may write the answer.
    fence: ObjectId
    #: The `_id` of the first document that the request makes, kept with the key; the others count on from it.
    first: ObjectId
    #: Whether it was begun before, so that documents may be there already.
    again: bool
    _given: int = field(default=0, init=False)

    def new_id(self) -> ObjectId:
        """The `_id` of the next document that the request makes."""
        (made,) = self.next_ids(1)
        self._given += 1
        return made

    def next_ids(self, count: int) -> list[ObjectId]:
        """What `new_id` will give the next `count` times."""
        at, number = self.first.binary[:4], int.from_bytes(self.first.binary[4:], "big") + self._given
        return [ObjectId(at + ((number + n) % _SPAN).to_bytes(8, "big")) for n in range(count)]


def first_id() -> ObjectId:
    """A start for a request's ids: the time in front, as in all of them, then 64 random bits to count on from.

    They are not made of owner, path and key alone: used anew a day later, the same key makes new documents.
    """
    return ObjectId(int(time.time()).to_bytes(4, "big") + os.urandom(8))
