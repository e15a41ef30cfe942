"""The day's matches: build the problem, explore, explain, reconcile, publish (`match_day.py`)."""
