"""Fairness: how groups of people are treated, and what features tell of protected attributes.

Apart from ingest, only this package reads protected attributes: from the lake, for figures of
groups.
"""
