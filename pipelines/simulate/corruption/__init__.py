"""Corrupted files and rows, each one logged so that tests know what was done."""
