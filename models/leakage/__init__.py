"""Checks that no feature contains information from after the outcome."""
