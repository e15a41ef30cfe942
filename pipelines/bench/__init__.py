"""Benchmarks: each is a command that returns its figures as one JSON object."""
