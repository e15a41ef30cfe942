"""Validation: splits in time, metrics, backtests, and the calibration monitor."""
