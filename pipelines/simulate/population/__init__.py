"""The people and firms of the simulated world."""
