"""A prediction that is answered later: its rows as inputs and a job over them, stored together or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure

from ml.audit.entries import Entry
from ml.database.client import READ_MS, Document
from ml.database.documents import now
from ml.database.leases import until
from ml.database.transactions import transact
from ml.errors import Invalid
from ml.executors.base import Arrays
from ml.store import input_documents

#: Rows whose documents are made and sent at once; the rest of a large request waits as arrays.
PART = 1000
DUPLICATE_KEY = 11000
#: The server's code for a transaction that does not fit into its cache.
TOO_LARGE = 388
#: The largest row that is stored, as the bytes of its tensors.
MAX_ROW_BYTES = 8 << 20


def submit(
    db: Database[Document],
    job: Document,
    arrays: Arrays | None,
    meta: Sequence[Mapping[str, Any] | None] | None,
    owner: str | None,
    entry: Entry | None = None,
    cancel_after: float | None = None,
) -> Document:
    """Insert a complete job and, where its `inputs` are the ids of new rows, these too: `arrays`, first axis the rows.

    With `cancel_after` (seconds) it is canceled where it has not ended by then; see deadlines.py.
    All of it is durable when this returns, or nothing is stored. The job is returned; where another run of the same
    request, which has the same ids, was quicker, that one's. Raises Invalid for a row that is too large, or for
    more than one transaction holds, or what the database raises.
    """
    if arrays is not None:
        _check_size(arrays)
    rows = job["inputs"] if arrays is not None else []
    at = now()

    def work(session: ClientSession) -> None:
        for start in range(0, len(rows), PART):
            part = slice(start, start + PART)
            documents = input_documents(
                {name: array[part] for name, array in (arrays or {}).items()},
                rows[part],
                job["model"],
                meta[part] if meta is not None else None,
                owner,
                at,
            )
            db["inputs"].insert_many(documents, session=session)
        # Last: no worker is to see a job whose rows are not there, whatever the order in which writes become visible.
        db["jobs"].insert_one(job, session=session)
        if cancel_after is not None:  # by the database's clock, as all that is held against it
            db["jobs"].update_one({"_id": job["_id"]}, [{"$set": {"cancel_at": until(cancel_after)}}], session=session)
        if entry is not None:
            entry.write(db, [job["_id"]], owner, session)

    try:
        transact(db.client, work, patient=False)
    except OperationFailure as error:  # a BulkWriteError too
        codes = _codes(error)
        if (
            DUPLICATE_KEY in codes
            and (before := db["jobs"].find_one({"_id": job["_id"]}, max_time_ms=READ_MS)) is not None
        ):
            return before
        if TOO_LARGE not in codes:
            raise
        size = f"{len(job['inputs'])} rows of this size"
        issue = f"{size} are more than the database takes in one transaction: send them in several requests"
        raise Invalid("the rows are too many", {"instances": issue}) from None
    return job


def _codes(error: OperationFailure) -> set[int | None]:
    issues = (error.details or {}).get("writeErrors", ())
    return {error.code, *(issue.get("code") for issue in issues)}


def _check_size(arrays: Arrays) -> None:
    if sum(array[:1].nbytes for array in arrays.values()) <= MAX_ROW_BYTES and not any(
        array.dtype == object for array in arrays.values()
    ):
        return  # rows have one shape, so of numbers they all have one size
    sizes = (
        sum(_bytes(np.asarray(array[row])) for array in arrays.values())
        for row in range(len(next(iter(arrays.values()))))
    )
    issues = {
        f"instances[{row}]": f"expected at most {MAX_ROW_BYTES} bytes a row, got {size}"
        for row, size in enumerate(sizes)
        if size > MAX_ROW_BYTES
    }
    if issues:
        raise Invalid("the rows are too large to be stored", issues)


def _bytes(values: NDArray[Any]) -> int:
    return sum(map(len, values.reshape(-1))) if values.dtype == object else values.nbytes
