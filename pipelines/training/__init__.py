"""The weekly training step, what triggers an earlier one, and the history of champions."""
