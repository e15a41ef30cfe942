"""Lenders, their catalogue, channels, and the requests that arrive."""
