"""Tests of keys, users and what they may do."""
