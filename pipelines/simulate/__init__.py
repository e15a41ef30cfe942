"""A simulated market: every feed from one seed, with a truth that the pipeline never reads."""

from pipelines.simulate.respond import respond
from pipelines.simulate.simulate import Plan, begin, simulate

__all__ = ["Plan", "begin", "respond", "simulate"]
