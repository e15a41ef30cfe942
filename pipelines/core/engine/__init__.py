"""Engines: where a function of one portion of leads is applied, on this machine or on Spark."""
