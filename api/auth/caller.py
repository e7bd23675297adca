"""Who is asking, and what of each resource is theirs to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from flask import g

Role = Literal["admin", "editor", "user", "reader"]

#: Resources whose documents belong to an owner. Models are seen by all.
OWNED = frozenset({"inputs", "results", "jobs", "deliveries"})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `owner` is what documents made for it carry."""

    owner: str
    role: Role

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def scope(self, resource: str) -> dict[str, Any]:
        """The filter that leaves what this caller may see of a resource: the one seam that every query goes through."""
        return {} if self.is_admin or resource not in OWNED else {"owner": self.owner}


def current_caller() -> Caller:
    """The caller of the request that is being answered; there is one on every route that is not public."""
    caller: Caller = g.caller
    return caller
