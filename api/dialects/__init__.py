"""The other servers' protocols that are spoken here: each is a file of this folder, and a line of this list."""

from api.dialects import kserve_v2, replicate, tensorflow_serving
from api.dialects.base import Dialect

#: A path is the first's that owns it: of `/v1/models` Replicate says what is its own, all else there is TensorFlow's.
DIALECTS: tuple[Dialect, ...] = (kserve_v2.DIALECT, replicate.DIALECT, tensorflow_serving.DIALECT)
