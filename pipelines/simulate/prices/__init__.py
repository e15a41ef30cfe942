"""Prices of the products: calibrated to a broadcast, and in a season reacting to what they buy."""
