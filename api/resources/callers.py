"""What keys and users share: administrators keep them, and a process forgets what it knew of one that is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.resources.base import ADMINS, Resource
from ml.audit.entries import Entry
from ml.database.client import Document
from ml.service import Service


class CallerResource(Resource):
    """Those whom requests are made by."""

    resource_methods = ["GET", "POST"]
    item_methods = ["GET", "PATCH", "DELETE"]
    readers = writers = ADMINS

    def update(
        self,
        service: Service,
        before: Mapping[str, Any],
        changes: dict[str, Any],
        scope: Mapping[str, Any],
        entry: Entry | None = None,
    ) -> Document | None:
        after = super().update(service, before, changes, scope, entry)
        service.identity.forget(before["_id"])
        return after

    def remove(
        self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any], entry: Entry | None = None
    ) -> bool:
        removed = super().remove(service, before, scope, entry)
        service.identity.forget(before["_id"])
        return removed
