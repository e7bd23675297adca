"""Eve's event hooks, registered by names that are checked: a misspelled one would never fire and never fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eve import Eve

#: The events that Eve 2.3 raises in the methods which are enabled here.
EVENTS = frozenset(
    """on_pre_GET on_pre_POST on_pre_PATCH on_pre_DELETE on_post_GET on_post_POST on_post_PATCH on_post_DELETE
    on_fetched_resource on_fetched_item on_insert on_inserted on_update on_updated on_delete_item
    on_deleted_item""".split()
)


def hook(app: Eve, event: str, function: Callable[..., Any]) -> None:
    """Call `function` at `event`, for every resource. Raises ValueError for an event that there is not."""
    if event not in EVENTS:
        raise ValueError(f"Eve has no event {event!r}")
    slot = getattr(app, event)
    slot += function
