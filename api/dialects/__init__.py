"""The other servers' protocols that are spoken here: each is a file of this folder, and a line of this list."""

from api.dialects import kserve_v2, replicate, tensorflow_serving
from api.dialects.base import Dialect

#: Where the paths of two have the same beginning, the one of more words is first.
DIALECTS: tuple[Dialect, ...] = (kserve_v2.DIALECT, replicate.DIALECT, tensorflow_serving.DIALECT)
