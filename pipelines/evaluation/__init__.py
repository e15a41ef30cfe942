"""What the matching was worth: scorecard, off-policy evaluation and drift."""
