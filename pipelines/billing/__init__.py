"""Billing: returns and disputes, monthly statements, channel feedback, and the step `follow_up`."""
