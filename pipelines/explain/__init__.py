"""Explanations on demand: why a lead got its offers or none, why a quota was not filled."""

from pipelines.explain.explain import explain, format_explanation

__all__ = ["explain", "format_explanation"]
