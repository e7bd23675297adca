"""Who may do what: one table of endpoints and methods to roles. What it does not name is refused, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from api.auth.models import permit_model
from api.dialects import DIALECTS
from api.errors import ApiError
from api.resources import RESOURCES
from api.resources.base import ADMINS, ALL, EDITORS, USERS, Roles
from ml.identity.caller import ROLES, Caller

#: The routes beside Eve's resources.
ROUTES: Mapping[tuple[str, str], Roles] = {
    ("home", "GET"): ALL,
    ("metrics.metrics", "GET"): ADMINS,
    ("predict.default", "POST"): USERS,
    ("predict.with_version", "POST"): USERS,
    ("predict.with_alias", "POST"): USERS,
    ("model_files.register", "POST"): EDITORS,
    ("input_files.data", "GET"): ALL,
    ("jobs.events", "GET"): ALL,
    ("webhooks.secret", "GET"): ALL,
    ("webhooks.rotate", "POST"): USERS,
    ("keys.rotate", "POST"): ADMINS,
    ("overview.page", "GET"): ALL,
    ("models_page.names", "GET"): ALL,
    ("models_page.upload", "POST"): EDITORS,
    ("model_page.page", "GET"): ALL,
    ("model_page.one", "GET"): ALL,
    ("model_page.change", "POST"): EDITORS,
    ("try_page.choose", "GET"): USERS,
    ("try_page.page", "GET"): USERS,
    ("try_page.predict", "POST"): USERS,
    ("jobs_page.page", "GET"): ALL,
    ("jobs_page.submit", "POST"): USERS,
    ("jobs_page.count", "GET"): ALL,
    ("job_page.page", "GET"): ALL,
    ("job_page.steer", "POST"): USERS,
    ("results_page.page", "GET"): ALL,
    ("result_page.page", "GET"): ALL,
    ("result_page.mark", "POST"): USERS,
    ("result_page.input_picture", "GET"): ALL,
    ("result_page.output_picture", "GET"): ALL,
    ("truth_page.page", "GET"): ALL,
    ("log_in.log_out", "POST"): ALL,
    # What is in a form is sent on, and needs its own permission.
    ("browse.show", "GET"): ALL,
    ("browse.submit", "POST"): ALL,
}

#: The part of a rule that is a model's name.
MODEL = "name"


def _of_resources() -> Iterator[tuple[tuple[str, str], Roles]]:
    for name, resource in RESOURCES.items():
        for endpoint, methods in (
            (f"{name}|resource", resource.resource_methods),
            (f"{name}|item_lookup", resource.item_methods),
        ):
            for method in methods:
                yield (endpoint, method), resource.readers if method == "GET" else resource.writers
        if "PATCH" in resource.item_methods:
            # Refused for all, with what is allowed there.
            yield (f"{name}|item_post_override", "POST"), resource.readers


def _of_dialects() -> Iterator[tuple[tuple[str, str], Roles]]:
    for dialect in DIALECTS:
        yield from dialect.permissions.items()


PERMISSIONS: Mapping[tuple[str, str], Roles] = {**ROUTES, **dict(_of_dialects()), **dict(_of_resources())}
#: Each endpoint's roles for OPTIONS: who may do anything there.
_ANYTHING = {
    endpoint: frozenset[Any]().union(*(roles for (other, _), roles in PERMISSIONS.items() if other == endpoint))
    for endpoint, _ in PERMISSIONS
}


def roles_for(endpoint: str, method: str) -> Roles:
    """Who may do this; nobody where no permission names it."""
    if method == "OPTIONS":
        return _ANYTHING.get(endpoint, frozenset())
    return PERMISSIONS.get((endpoint, "GET" if method == "HEAD" else method), frozenset())


def permit(caller: Caller, endpoint: str, method: str, values: Mapping[str, Any] | None) -> None:
    """Raise a 403 where the caller's role may not do this, or its key is not for the model in the path's `values`."""
    roles = roles_for(endpoint, method)
    if caller.role not in roles:
        if not roles:
            raise ApiError(403, f"nobody may do this: no permission names {method} {endpoint}")
        needed = [role for role in reversed(ROLES) if role in roles]
        raise ApiError(403, f"the role {caller.role} may not do this; it takes {' or '.join(needed)}")
    if caller.models is not None and values and MODEL in values:
        permit_model(caller, values[MODEL])
