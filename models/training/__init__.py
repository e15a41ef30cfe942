"""How one model is fitted: its dataset, boosting, right-censored loans, and reject inference."""
