"""Explanations on demand: why a lead got its offers or none, why a quota was not filled, and to
what the person of a match agreed."""

from pipelines.explain.consent import explain_match
from pipelines.explain.explain import explain, format_explanation

__all__ = ["explain", "explain_match", "format_explanation"]
