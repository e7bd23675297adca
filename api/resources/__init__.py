"""The resources that Eve serves, one file each."""

from __future__ import annotations

from typing import Any

from api.resources.audit import Audit
from api.resources.base import Resource
from api.resources.deliveries import Deliveries
from api.resources.inputs import Inputs
from api.resources.jobs import Jobs
from api.resources.keys import Keys
from api.resources.models import Models
from api.resources.results import Results
from api.resources.users import Users

RESOURCES: dict[str, Resource] = {
    resource.name: resource
    for resource in (
        Models(),
        Inputs(),
        Results(),
        Jobs(),
        Deliveries(),
        Keys(),
        Users(),
        Audit(),
    )
}


def domain() -> dict[str, Any]:
    """Eve's DOMAIN."""
    return {name: resource.eve() for name, resource in RESOURCES.items()}
