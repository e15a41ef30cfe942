"""Delivery ledger: the state of every match after the matching, as append-only events."""
