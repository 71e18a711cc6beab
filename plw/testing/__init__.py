"""Tiny models and helpers that tests and benchmarks share."""
