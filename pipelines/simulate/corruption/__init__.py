"""Corrupted rows and files of a simulated market, each one recorded in the corruption log."""
