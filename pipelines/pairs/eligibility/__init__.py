"""Eligibility of leads for products: hard rules, evaluated on bitsets."""
