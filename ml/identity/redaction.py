"""Takes secrets out of text that is logged or answered: keys by their look, those of the settings as they are.

Nothing here writes a secret on purpose. This is for what clients put where it does not belong, a key in a path or in
some field, and what a library's message repeats.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

#: A key, or the secret of somebody's webhooks, in what a client sent.
SECRET = re.compile(rb"alm_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])|whsec_[A-Za-z0-9+/]{43}=")
#: The same in text, also where it was cut: its prefix is no secret, and is left.
_PATTERNS = (
    (re.compile(r"(alm_[A-Za-z0-9_-]{4})[A-Za-z0-9_-]{12,}"), r"\1..."),
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]{8,}"), "whsec_..."),
    (re.compile(r"\$argon2[a-z]*\$[^\s\"']*"), "$argon2..."),
    (re.compile(r"(://[^\s/:@\"']*):[^\s/@\"']+@"), r"\1:...@"),
    (re.compile(r"\b([Bb]asic|[Bb]earer) [A-Za-z0-9+/=._~-]{8,}"), r"\1 ..."),
)
#: What one of the patterns begins with: most text has none of it.
_SIGNS = ("alm_", "whsec_", "$argon2", "://", "asic ", "earer ")
#: Shorter ones would be found in every other word.
SHORTEST = 8
#: Characters by which one of the settings is found.
HEAD = 16

_secrets: tuple[str, ...] = ()


def hide(secret: str) -> None:
    """Take this secret out of all text from now on; of a URI its password."""
    global _secrets
    parts = [secret]
    if "://" in secret:
        try:
            password = urlsplit(secret).password
        except ValueError:
            password = None
        parts = [password, unquote(password), quote(unquote(password), safe="")] if password else []
    new = {part for part in parts if len(part) >= SHORTEST}
    _secrets = tuple(sorted({*_secrets, *new}, key=len, reverse=True))


def redacted(text: str) -> str:
    """The text without secrets; microseconds, and less where there is none."""
    for secret in _secrets:
        if secret[:HEAD] in text:
            text = _without(secret, text)
    for sign in _SIGNS:
        if sign in text:
            break
    else:
        return text
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def _without(secret: str, text: str) -> str:
    """The text without the secret, also where it was cut: messages repeat the beginning of what came."""
    parts = text.split(secret[:HEAD])
    rest = secret[HEAD:]
    return "...".join([parts[0], *(part[_alike(rest, part) :] for part in parts[1:])])


def _alike(one: str, other: str) -> int:
    """How many characters they begin with together."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def holds_secret(data: bytes) -> bool:
    """Whether there is a key, a webhooks' secret or one of the settings in what a client sent."""
    if (b"alm_" in data or b"whsec_" in data) and SECRET.search(data) is not None:
        return True
    return any(secret.encode("utf-8", "surrogateescape") in data for secret in _secrets)
