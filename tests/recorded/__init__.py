"""Recorded traffic: what the tests ask the server, and are answered, is held against the OpenAPI document."""
