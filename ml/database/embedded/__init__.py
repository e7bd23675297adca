"""The embedded MongoDB: a private mongod on a data directory, for those who bring none of their own.

`mongo.py` is the whole of it in order; the other files have one idea each.
"""

from ml.database.embedded.errors import DirectoryHeld, EmbeddedError
from ml.database.embedded.holder import running_uri
from ml.database.embedded.mongo import EmbeddedMongo

__all__ = ["DirectoryHeld", "EmbeddedError", "EmbeddedMongo", "running_uri"]
