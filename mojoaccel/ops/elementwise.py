"""Placeholder."""

OPS = ()
