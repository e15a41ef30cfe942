"""A simulated market: every feed from one seed, and a truth that the pipeline never reads."""

from pipelines.simulate.respond import respond
from pipelines.simulate.simulate import SimulationPlan, simulate, start_market

__all__ = ["SimulationPlan", "respond", "simulate", "start_market"]
