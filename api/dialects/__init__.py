"""The other servers' protocols that are spoken here: each is a file of this folder, and a line of this list."""

from api.dialects import kserve_v2, tensorflow_serving
from api.dialects.base import Dialect

DIALECTS: tuple[Dialect, ...] = (kserve_v2.DIALECT, tensorflow_serving.DIALECT)
