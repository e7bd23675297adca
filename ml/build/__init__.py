"""A Keras file becomes something fast, and is proven equal. Keras is imported in a child process alone."""

from ml.build.build import build_model
from ml.build.report import BuildError, BuildReport
from ml.build.static_check import check_archive
from ml.build.turns import Turn

__all__ = ["BuildError", "BuildReport", "Turn", "build_model", "check_archive"]
