"""A caller: whose documents it works with, in what role, with which models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Via = Literal["administrator's key", "key", "password", "link", "anyone"]
Role = Literal["admin", "editor", "user", "reader"]
ROLES: tuple[Role, ...] = get_args(Role)

#: Resources whose documents belong to an owner, and those that all see. Every other is for administrators alone.
OWNED = frozenset({"inputs", "results", "jobs", "deliveries", "files"})
SHARED = frozenset({"models"})

#: Matches no document.
NOTHING: dict[str, Any] = {"_id": {"$in": []}}


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `owner` is what documents made for it carry."""

    owner: str
    role: Role
    #: The names of the models that it may use; None: all.
    models: frozenset[str] | None = None
    #: What it showed: the id of its key or user; None: the administrator's key.
    proof: str | None = None
    #: How it said who it is, and the first characters of a key.
    via: Via = "key"
    prefix: str | None = None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def may_use(self, model: str) -> bool:
        """Whether it may predict with a model, submit jobs for it and, in a role that may, change it."""
        return self.models is None or model in self.models

    def scope(self, resource: str) -> dict[str, Any]:
        """The filter that leaves what this caller may see of a resource: the one seam that every query goes through."""
        if self.is_admin or resource in SHARED:
            return {}
        return {"owner": self.owner} if resource in OWNED else dict(NOTHING)


ADMIN = Caller("admin", "admin", via="administrator's key")
