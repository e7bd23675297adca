"""Who holds a key, or has a name and a password: told without asking the database where that was asked not long ago.

A thread asks again, twice a second and for all at once, whether what requests count on still holds. So a key that was
revoked, has expired or was changed stops within a second in every process, no request pays for that, and while the
database is away those whom it was seen to have in the last ten minutes stay.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pymongo
from bson import ObjectId
from pymongo import UpdateOne, WriteConcern
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.admission import Admission
from ml.cores import anywhere
from ml.database.client import Document
from ml.errors import Overloaded, StorageUnavailable
from ml.identity import keys
from ml.identity.caller import Caller
from ml.identity.failures import Failures, network_of
from ml.identity.known import GOOD_SECONDS, Known, Memory, known_key, known_user
from ml.identity.passwords import MOST_BYTES, NOBODY, is_password
from ml.identity.proofs import Proofs

log = logging.getLogger(__name__)

USERS = "users"

#: Seconds between two looks at what changed.
PERIOD = 0.5
#: Seconds that the database has for an answer.
ANSWER_SECONDS = 2.0
#: Seconds after which what nobody used is forgotten.
IDLE_SECONDS = GOOD_SECONDS
#: Seconds between two times that a key's last use is written down.
LAST_USED_SECONDS = 60.0
#: Seconds for which a token that is nobody's is not looked up again.
REFUSED_SECONDS = 1.0

#: Different failures in a minute: keys or passwords from one address, passwords for one name.
WINDOW_SECONDS = 60.0
MOST_OF_ADDRESS = 20
MOST_OF_NAME = 10

#: Passwords that are verified at once, how many requests may wait for that, and how long.
AT_ONCE = 2
MOST_WAITING = 8
WAIT_SECONDS = 5.0
LONGEST_NAME = 256


class Identity:
    """The keys and users of a database, as one process knows them."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._keys = Memory()
        self._users = Memory()
        self._proofs = Proofs()
        self._by_address = Failures(MOST_OF_ADDRESS, WINDOW_SECONDS, "to say who asks from this address")
        self._by_name = Failures(MOST_OF_NAME, WINDOW_SECONDS, "to log in under this name")
        self._verifying = threading.BoundedSemaphore(AT_ONCE)
        self._waiting = Admission(AT_ONCE + MOST_WAITING, "log-ins")
        self._away = False
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def of_key(self, token: str, address: str) -> Caller | None:
        """Who holds a key; None where nobody does. A key that is known here costs a digest and a lookup.

        Raises TooManyFailures, or StorageUnavailable where it cannot be told.
        """
        digest = keys.digest_of(token)
        known = self._keys.get(digest)
        if known is None or not known.is_good:
            known = self._asked_key(token, digest, network_of(address))
            if known is None:
                return None
        now = time.time()
        if now >= known.expires:
            return None
        known.used = now
        return known.caller

    def of_user(self, name: str, password: str, address: str) -> Caller | None:
        """Who has this name and password; None where nobody has. What was verified is remembered for a minute.

        Raises TooManyFailures, Overloaded where too many are being verified, or StorageUnavailable.
        """
        known = self._users.get(name)
        if known is None or not known.is_good or not self._proofs.is_fresh(name, password, known.secret):
            known = self._verified_user(name, password, network_of(address), known)
            if known is None:
                return None
        now = time.time()
        if now >= known.expires:
            return None
        known.used = now
        return known.caller

    def forget(self, id_: ObjectId) -> None:
        """Ask the database again for this key or user, which was changed here."""
        self._keys.drop_id(id_)
        self._users.drop_id(id_)

    def close(self) -> None:
        """End the thread, which writes down what was used last."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(ANSWER_SECONDS)

    def _asked_key(self, token: str, digest: str, network: str) -> Known | None:
        self._by_address.check(network)
        document = None
        if keys.FORM.match(token) and not self._by_address.noted(network, digest, REFUSED_SECONDS):
            either = {"$or": [{"hash": digest}, {"former_hash": digest}]}
            document = self._ask(lambda: self._db[keys.COLLECTION].find_one(either))
        known = known_key(document, digest) if document is not None else None
        if known is None:
            self._by_address.note(network, digest)
        else:
            self._remember(self._keys, digest, known)
        return known

    def _verified_user(self, name: str, password: str, network: str, known: Known | None) -> Known | None:
        too_long = len(name) > LONGEST_NAME or len(password.encode("utf-8", "surrogatepass")) > MOST_BYTES
        name = name[:LONGEST_NAME]
        # Who was let in with it lately is no guesser, and whoever guesses meanwhile is not to lock this one out.
        if known is None or not self._proofs.is_there(name, password, known.secret):
            self._by_address.check(network)
            self._by_name.check(name)
        if known is None or not known.is_good:
            document = self._ask(lambda: self._db[USERS].find_one({"name": name}))
            known = known_user(document) if document is not None else None
        stored = known.secret if known is not None else NOBODY
        digest = self._proofs.digest(name, password, stored)
        if too_long or self._by_name.noted(name, digest, WINDOW_SECONDS):
            right = False
        else:
            with self._turn():
                right = is_password(password, stored)
        if known is None or not right:
            self._by_address.note(network, digest)
            self._by_name.note(name, digest)
            return None
        if known.expires <= time.time():
            return None
        self._proofs.keep(digest)
        self._remember(self._users, name, known)
        return known

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Within it a password may be verified: it takes memory, and time that predictions want. Raises Overloaded."""
        self._waiting.take()
        try:
            if not self._verifying.acquire(timeout=WAIT_SECONDS):
                raise Overloaded("too many passwords are being verified")
            try:
                yield
            finally:
                self._verifying.release()
        finally:
            self._waiting.give()

    def _ask(self, read: Callable[[], Document | None]) -> Document | None:
        """What the database says. While it is away the thread alone finds out whether it is back."""
        if self._away:
            raise StorageUnavailable("the database is not available, and this key or user is not known without it")
        try:
            with pymongo.timeout(ANSWER_SECONDS):
                return read()
        except PyMongoError as error:
            self._away = True
            self._start()
            raise StorageUnavailable(
                f"the database is not available ({type(error).__name__}), and this key or user is not known without it"
            ) from error

    def _remember(self, memory: Memory, name: str, known: Known) -> None:
        memory.put(name, known)
        self._start()

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._loop, name="identity", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        anywhere()
        while True:
            stopped = self._stop.wait(PERIOD)
            try:
                with pymongo.timeout(ANSWER_SECONDS):
                    if not stopped:
                        self._reread()
                    self.note_use()
                if self._away:
                    log.info("keys and users can be read again")
                    self._away = False
            except PyMongoError as error:
                if not self._away:
                    log.warning("keys and users cannot be read, those that are known stay: %s", error)
                self._away = True
            except Exception:
                log.exception("rereading keys and users failed; it goes on")
            if stopped:
                return

    def _reread(self) -> None:
        """Ask the database for all that is known; what it has no more is forgotten."""
        self._proofs.drop_old()
        asked = self._renew(self._keys, keys.COLLECTION, known_key)
        asked = self._renew(self._users, USERS, lambda document, _: known_user(document)) or asked
        if self._away and not asked:
            self._db.command("ping")

    def _renew(self, memory: Memory, collection: str, read: Callable[[Document, str], Known | None]) -> bool:
        """False where nothing is known."""
        known = memory.all()
        if not known:
            return False
        idle = time.time() - IDLE_SECONDS
        memory.drop([name for name, one in known.items() if one.used < idle])
        ids = list({one.id for one in known.values()})
        found = {document["_id"]: document for document in self._db[collection].find({"_id": {"$in": ids}})}
        gone = []
        for name, one in known.items():
            document = found.get(one.id)
            now = read(document, name) if document is not None else None
            if now is None:
                gone.append(name)
            else:
                one.renew(now)
        memory.drop(gone)
        return True

    def note_use(self) -> None:
        """Write down when keys were last used, once a minute each whichever process they came to."""
        due = [one for one in self._keys.all().values() if one.used - one.noted >= LAST_USED_SECONDS]
        writes: list[Any] = []
        for one in due:
            before = datetime.fromtimestamp(one.used - LAST_USED_SECONDS, UTC)
            older = [{"last_used": {"$exists": False}}, {"last_used": {"$lte": before}}]
            at = datetime.fromtimestamp(one.used, UTC)
            writes.append(UpdateOne({"_id": one.id, "$or": older}, {"$set": {"last_used": at}}))
        if writes:
            collection = self._db[keys.COLLECTION].with_options(write_concern=WriteConcern(w=1))
            collection.bulk_write(writes, ordered=False)
        for one in due:
            one.noted = one.used
