"""The three LightGBM models: risk, approval and take-up; how they are trained, kept and asked."""
