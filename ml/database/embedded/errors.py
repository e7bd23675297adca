"""What goes wrong with the embedded MongoDB, each as one line that says what to do."""

from __future__ import annotations


class EmbeddedError(Exception):
    """The embedded MongoDB cannot be brought up; the message is for a person and says what to do."""


class DirectoryHeld(EmbeddedError):
    """The data directory is held by a living Almanac; the message names its pid, and its address where recorded."""
