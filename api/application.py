"""The Flask application: Eve with Almanac's requests, responses and memory of routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eve import Eve
from flask import Request
from werkzeug.routing import Map, MapAdapter
from werkzeug.wsgi import get_host

from api.requests import AlmanacRequest
from api.responses import AlmanacResponse

#: Paths whose routes are remembered, and the length of one that may be.
MOST_PATHS = 512
LONGEST_PATH = 200


class Application(Eve):  # type: ignore[misc]
    """Eve, leaner where every request goes through."""

    request_class = AlmanacRequest
    response_class = AlmanacResponse

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._routes: dict[str, tuple[Any, dict[str, Any]]] = {}

    def remembered(self, path: str) -> tuple[Any, dict[str, Any]] | None:
        """The rule and the values of the path of a POST that was asked for before."""
        return self._routes.get(path)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view is a coroutine: Flask need not look at each function of each request to see that."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What finds a request's route. There is one host, so nothing but the path and the method matters."""
        if request is None:
            adapter: MapAdapter | None = super().create_url_adapter(None)
            return adapter
        environ = request.environ
        request.host = get_host(environ)  # which hosts are trusted is api/edge.py's
        return _Adapter(
            self.url_map,
            request.host,
            environ.get("SCRIPT_NAME") or "/",
            self.url_map.default_subdomain or "",
            environ["wsgi.url_scheme"],
            request.path,
            environ["REQUEST_METHOD"],
            environ.get("QUERY_STRING", ""),
            routes=self._routes,
        )


class _Adapter(MapAdapter):
    """Remembers where the paths of POSTs led: predictions come by the thousand to the same one."""

    def __init__(self, map: Map, *args: Any, routes: dict[str, Any]) -> None:
        super().__init__(map, *args)
        self._routes = routes

    def match(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs != {"return_rule": True} or self.default_method != "POST":
            return super().match(*args, **kwargs)
        found = self._routes.get(self.path_info)
        if found is None:
            found = super().match(return_rule=True)
            if len(self.path_info) <= LONGEST_PATH:
                if len(self._routes) >= MOST_PATHS:
                    self._routes.clear()
                self._routes[self.path_info] = found
        rule, values = found
        return rule, dict(values)
