"""How models are judged: splits in time, metrics, backtests, and calibration in service."""
