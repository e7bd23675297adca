"""TensorFlow Serving's REST API: `/v1/models/...`. Where its documentation and its code differ, it is as the code."""

from api.dialects.tensorflow_serving.routes import DIALECT

__all__ = ["DIALECT"]
