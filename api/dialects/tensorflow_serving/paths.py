"""Paths of TensorFlow Serving: matched in any case, with names that have no colon."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PREFIX = "/v1/models"
_PATH = re.compile(
    r"/v1/models(?:(?P<name>/[^/:]+)(?:(?P<kind>/(?:versions|labels)/)(?P<which>[^/:]+))?)?(?P<what>:\w+|/metadata)?",
    re.IGNORECASE,
)


def in_small_letters(path: str) -> str:
    """A path with the words of the protocol in small letters; others as they are."""
    found = _PATH.fullmatch(path)
    if found is None:
        return path
    name, kind, which, what = found.group("name", "kind", "which", "what")
    return f"{PREFIX}{name or ''}{(kind or '').lower()}{which or ''}{(what or '').lower()}"


class Name(BaseConverter):
    """A model's name, or a label, in a rule: what follows a colon is what is asked of it."""

    regex = "[^/:]+"
    #: Less than others': where another dialect's rule fits a path too, these do.
    weight = 50
    part_isolating = True


def prepare(state: BlueprintSetupState) -> None:
    """Let the application that a blueprint is registered with find these paths however they are written."""
    app: Any = state.app
    app.url_map.converters["part"] = Name
    inside = app.wsgi_app

    def outside(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        path = environ["PATH_INFO"]
        if path[: len(PREFIX)].lower() == PREFIX:
            environ["PATH_INFO"] = in_small_letters(path)
        return inside(environ, start_response)

    app.wsgi_app = outside
