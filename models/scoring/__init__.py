"""Scoring: estimators, calibration, tree ensembles as lookup tables, contributions, uncertainty."""
