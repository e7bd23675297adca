"""What can go wrong when something is asked of the service, each with what a person needs to know of it."""

from __future__ import annotations

from collections.abc import Iterable


class ServiceError(Exception):
    """Anything that the service refuses or fails at; the message is for the one who asked."""


class UnknownModel(ServiceError):
    """No model, version or alias of that name; the message names what there is."""


class ModelNotAvailable(ServiceError):
    """The version exists and cannot be used (yet, or any more); the message has its state."""


class UnknownDocuments(ServiceError):
    """Stored documents that were named do not exist, or are not the caller's to see."""

    def __init__(self, what: str, issues: dict[str, str]) -> None:
        super().__init__(f"{what}: {', '.join(issues)}")
        self.issues = issues


class Invalid(ServiceError):
    """What was sent does not fit; `issues` maps a place in it to what was expected and what came."""

    def __init__(self, message: str, issues: dict[str, str]) -> None:
        super().__init__(message)
        self.issues = issues


class NotAllowed(ServiceError):
    """The caller may not do this to this name."""


class WrongState(ServiceError):
    """The document is in a state from which this cannot be done; the message has the present one."""


class Changed(ServiceError):
    """The document is no longer what the caller saw (its entity tag differs)."""


class DeadlineExceeded(ServiceError):
    """The answer was not there in time; rows may have been stored."""


class StorageUnavailable(ServiceError):
    """The database did not take or give what was needed."""


class Overloaded(ServiceError):
    """More waits already than may; nothing was computed or stored."""


class TooManyFailures(ServiceError):
    """The caller failed too often to say who it is; `seconds` is after how long it may try again."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class KeyReused(ServiceError):
    """An idempotency key came with another request than the one that it belongs to."""


class UnderWay(ServiceError):
    """The same request, by its idempotency key, is still being answered."""


class ExecutionFailed(ServiceError):
    """The model failed on some rows, which have failed results; `issues` has what it said, by row."""

    def __init__(self, message: str, issues: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.issues = issues or {}


def listed(names: Iterable[object], empty: str = "none") -> str:
    """Names for a message, in order, at most 20 of them."""
    shown = [str(name) for name in names]
    return (", ".join(shown[:20]) + (" ..." if len(shown) > 20 else "")) or empty
