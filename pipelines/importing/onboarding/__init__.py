"""Onboarding: profile a foreign file and draft the mapping that imports it."""
