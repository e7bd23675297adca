"""Predictions as Replicate's clients know them: jobs of one row, each shown as one object.

It is here and not beside the dialect's routes because webhooks tell the same object.
"""
