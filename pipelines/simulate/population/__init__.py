"""The people and firms of a market, with invented identities."""
