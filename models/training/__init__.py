"""Training: examples, boosting, right-censored loans, reject inference, paired bootstrap."""
