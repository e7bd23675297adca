"""Examines an installation: one file for each thing that is looked at. It says what to do and repairs nothing.

`examination.py` has the order; every check yields findings and survives whatever other programs stored.
"""
