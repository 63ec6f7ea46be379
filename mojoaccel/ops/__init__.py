"""Operators: one record each, with its lowering, samples and tolerance."""
