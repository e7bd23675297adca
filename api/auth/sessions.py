"""The sessions that the settings ask for: signed with their secret, the administrator's bound to its key."""

from __future__ import annotations

import hmac

from pymongo.database import Database

from api.auth.keys import admin_key_in
from ml.database.client import Document
from ml.identity.sessions import Sessions
from settings import Settings


def sessions_of(settings: Settings, db: Database[Document]) -> Sessions:
    """Browsers' sessions; those of the administrator end where its key, or the secret, is another."""
    key, secret = settings.admin_key, settings.secret_key
    return Sessions(
        db,
        admin_digest(
            key.get_secret_value() if key is not None else admin_key_in(settings.data_dir),
            secret.get_secret_value() if secret is not None else "",
        ),
    )


def admin_digest(admin_key: str, secret: str) -> str:
    """What sessions note of the administrator's key: without the secret it tells nothing of one that people chose."""
    return hmac.digest(secret.encode(), admin_key.encode("utf-8", "surrogateescape"), "sha256").hex()
