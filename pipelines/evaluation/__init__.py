"""The value of the matching: scorecard, off-policy evaluation and drift."""
