"""Requests that may be sent twice and are done once: their keys, their answers, and what they make."""
