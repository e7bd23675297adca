"""A request as a line for curl, to be pasted into a terminal; the key stays a variable."""

from __future__ import annotations

import shlex
from urllib.parse import quote

from api.console.inner import Sent

#: What stays as it is in a query string.
UNCHANGED = "%&=+,:;/?-._~!*()@$"
#: A longer body is shown as a file.
MOST_BODY = 4000


def curl_line(sent: Sent, origin: str) -> str:
    """The line; headers and body as they were sent, but for who sends it."""
    # Braces and brackets would mean several addresses.
    url = origin + quote(sent.path, safe="/%") + (f"?{quote(sent.query, safe=UNCHANGED)}" if sent.query else "")
    parts = ["curl", "-s"]
    if sent.method != "GET":
        parts += ["-X", sent.method]
    parts.append(shlex.quote(url))
    lines = [" ".join(parts), '-H "Authorization: Bearer $ALMANAC_KEY"']
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in sent.headers.items()]
    if sent.body is not None:
        body = sent.body.decode("utf-8", "replace")
        lines.append("-H 'Content-Type: application/json'")
        lines.append("-d " + ("@body.json" if len(body) > MOST_BODY else shlex.quote(body)))
    if sent.form is not None:
        fields, files = sent.form
        lines += [f"-F {shlex.quote(f'{name}={value}')}" for name, value in fields.items(multi=True)]
        lines += [f"-F {shlex.quote(f'{name}=@{file.filename}')}" for name, file in files.items(multi=True)]
    return " \\\n  ".join(lines)
