"""What a job's webhook is to be told: noted in the job itself, by the update that makes it happen."""

from __future__ import annotations

from typing import Any

#: All that a webhook can be told of; those that it gets where it does not say.
EVENTS = ("started", "progress", "succeeded", "failed", "canceled")

#: Of the job as it is then, what the note keeps.
_STATE = ("status", "progress", "error", "started", "ended")


def noted(event: str, where: Any = True) -> dict[str, Any]:
    """The stage of an update that notes `event` where the job has a webhook that wants to hear of it, and where the
    expression `where` is true.

    It comes after the stages that make the change: the note has the job's state as it is then. Notes wait in `outbox`
    until they are deliveries; `n` counts them from 1. Progress that is still waiting is not noted again.
    """
    # What another program wrote into a job must not keep it from being claimed: a list is made sure of, and a number.
    wanted: list[Any] = [
        where,
        {"$eq": [{"$type": "$webhook.url"}, "string"]},
        {"$in": [event, _list("$webhook.events", list(EVENTS))]},
    ]
    waiting = _list("$outbox", [])
    if event == "progress":
        wanted.append({"$not": [{"$in": [event, _list("$outbox.event", [])]}]})
    number = {"$add": [{"$cond": [{"$isNumber": "$noted"}, "$noted", 0]}, 1]}
    note = {"n": number, "event": event, "at": "$$NOW", **{name: f"${name}" for name in _STATE}}
    return {
        "$set": {
            "outbox": {"$cond": [{"$and": wanted}, {"$concatArrays": [waiting, [note]]}, "$outbox"]},
            "noted": {"$cond": [{"$and": wanted}, number, "$noted"]},
        }
    }


def _list(field: str, otherwise: list[Any]) -> dict[str, Any]:
    return {"$cond": [{"$isArray": [field]}, field, otherwise]}
