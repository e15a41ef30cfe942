"""Validation: parse text to types, check contracts by Great Expectations, decide on each row."""
