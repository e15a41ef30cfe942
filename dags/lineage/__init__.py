"""Lineage: which dataset, and which of its columns, each step makes from which others."""
