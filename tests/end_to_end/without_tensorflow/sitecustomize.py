"""On PYTHONPATH it makes every Python one of a machine that serves and does not build: what that takes is not there."""

import sys

sys.modules.update(dict.fromkeys(("tensorflow", "keras", "tf2onnx")))  # type: ignore[arg-type]
