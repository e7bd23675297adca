"""Passwords: how strong one must be, and what is stored of it."""

from __future__ import annotations

from collections.abc import Iterable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn

from ml.cores import spread

LEAST_CHARACTERS = 8
MOST_BYTES = 1024
#: zxcvbn's scores go from 0 to 4; 3 is "safely unguessable: moderate protection from offline slow-hash scenario".
LEAST_SCORE = 3
#: Characters that the estimate looks at: it takes seconds for a thousand. More only make a password stronger.
ESTIMATED = 100

#: argon2id: twice the passes that OWASP's Password Storage Cheat Sheet asks for at this memory (46 MiB, one pass);
#: one lane, as two of these may run beside the predictions.
HASHER = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)

#: What a name that is no user's is held against, so that the time tells nothing. It is no password's.
NOBODY = (
    "$argon2id$v=19$m=47104,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)  # fmt: skip


def weakness(password: str, about: Iterable[str] = ()) -> str | None:
    """Why a password is refused, with zxcvbn's advice, if it is; `about` are words that it should not be made of."""
    if len(password) < LEAST_CHARACTERS:
        return f"expected at least {LEAST_CHARACTERS} characters, got {len(password)}"
    size = len(password.encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        return f"expected at most {MOST_BYTES} bytes, got {size}"
    found = zxcvbn(password[:ESTIMATED], user_inputs=[word for word in about if word], max_length=ESTIMATED)
    if found["score"] >= LEAST_SCORE:
        return None
    feedback = found["feedback"]
    advice = " ".join(part for part in (feedback["warning"], *feedback["suggestions"]) if part)
    reason = f"too easy to guess: expected a score of {LEAST_SCORE} or 4 by zxcvbn, got {found['score']}"
    return f"{reason}. {advice}" if advice else reason


def hash_password(password: str) -> str:
    """What is stored of a password; takes a tenth of a second and 46 MiB."""
    with spread():
        return HASHER.hash(password.encode("utf-8", "surrogatepass"))


def is_password(password: str, stored: str) -> bool:
    """Whether this is the password of which `stored` was made; as long as `hash_password`, whatever the answer."""
    with spread():
        try:
            return HASHER.verify(stored, password.encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False
