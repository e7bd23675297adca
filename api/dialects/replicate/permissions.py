"""Who may do what with predictions."""

from __future__ import annotations

from collections.abc import Mapping

from api.dialects.replicate.blueprint import NAME
from api.resources.base import ALL, USERS, Roles

PERMISSIONS: Mapping[tuple[str, str], Roles] = {
    (f"{NAME}.create", "POST"): USERS,
    (f"{NAME}.create_for_model", "POST"): USERS,
    (f"{NAME}.create_for_deployment", "POST"): USERS,
    (f"{NAME}.create_once", "PUT"): USERS,
    (f"{NAME}.cancel", "POST"): USERS,
    (f"{NAME}.get", "GET"): ALL,
    (f"{NAME}.listed", "GET"): ALL,
    (f"{NAME}.stream", "GET"): ALL,
    (f"{NAME}.secret", "GET"): ALL,
}
