"""Contracts of the feeds, mappings of foreign files and policies, as data."""
