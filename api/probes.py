"""Probes: asked for by address, of whatever name, often, and even of a server that is full."""

from __future__ import annotations

#: What their paths begin with.
HEALTH = ("/health/", "/v2/health/")
