"""Outcomes of shown pairs: ground truth, reported events, and allocation before Banyan."""
