"""What the database refuses for good, told from what passes: it restarts, it hangs, it has another primary."""

from __future__ import annotations

from pymongo.errors import BulkWriteError, PyMongoError

from ml.errors import StorageUnavailable

#: The server's codes for what a client's query or value brought about: bad value, type mismatch, regex, too deep,
#: a document that the validator or an index refuses ...
REFUSED = frozenset({2, 9, 14, 15, 16, 17, 27, 40, 52, 121, 171, 10334, 17419, 51091, 51108, 51270, 6108304})


def refused(error: PyMongoError) -> bool:
    """Whether the same would be refused again. All else passes, also what a mongod says that has just come up: that it
    knows no such cursor, or has not read its keys yet.
    """
    writes = error.details.get("writeErrors", ()) if isinstance(error, BulkWriteError) else ()
    codes = {getattr(error, "code", None), *(write.get("code") for write in writes)}
    return not codes.isdisjoint(REFUSED)


def passes(error: Exception) -> bool:
    """Whether an error is the database's and may be gone when the same is tried again."""
    return isinstance(error, StorageUnavailable) or (isinstance(error, PyMongoError) and not refused(error))
