"""Off-policy evaluation: the value of another matching policy, from logged propensities."""
