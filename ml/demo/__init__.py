"""The digits demo: a model trained on real handwritten digits, and 360 of them that it has not seen."""
