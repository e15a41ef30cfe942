"""The three LightGBM models: risk, approval and take-up; training, registry and scoring."""
