"""Reasons of a score: reason codes, the reference profile they compare with, their fidelity."""
