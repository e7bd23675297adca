"""The HTTP server of a process that serves nothing but health and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class _Handler(WSGIRequestHandler):
    """Says nothing of what it is made of, whatever it is sent."""

    error_message_format = ""

    def version_string(self) -> str:
        return ""


def health_server(host: str, port: int, app: Any, tls: tuple[Path, Path] | None) -> BaseWSGIServer:
    """A server that listens; `tls` are the files of a certificate and its key."""
    files = (str(tls[0]), str(tls[1])) if tls is not None else None
    return make_server(host, port, app, threaded=True, request_handler=_Handler, ssl_context=files)
