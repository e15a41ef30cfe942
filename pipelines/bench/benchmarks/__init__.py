"""Benchmarks of speed, memory, optimality gap and model quality."""
