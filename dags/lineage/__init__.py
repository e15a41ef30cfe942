"""Lineage: which dataset, and which of its columns, each step makes from which others."""

NAMESPACE = "banyan"
"""The namespace of jobs and datasets in lineage events."""
