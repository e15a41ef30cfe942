"""Checks that no feature knows the outcome before it happens."""
