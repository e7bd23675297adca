"""The `_id`s of what a POST makes: wherever a route creates documents, it takes them from here."""

from __future__ import annotations

from bson import ObjectId
from flask import g

from ml.service import Claim


def current_claim() -> Claim | None:
    """This request's claim on its Idempotency-Key; None where it has no key."""
    claim: Claim | None = g.get("claim")
    return claim


def new_id() -> ObjectId:
    """The `_id` of the next document that this request makes.

    With an Idempotency-Key these are the same ones, in the same order, whenever the request is run again, so that what
    it made before is found (a duplicate key) rather than doubled. So it must make its documents in the same order.
    """
    claim = current_claim()
    return ObjectId() if claim is None else claim.new_id()
