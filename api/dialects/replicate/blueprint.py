"""The blueprint of Replicate's routes: views register on it by being imported."""

from __future__ import annotations

from flask import Blueprint

NAME = "replicate"
blueprint = Blueprint(NAME, __name__)
