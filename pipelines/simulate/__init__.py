"""A simulated market: every feed from one seed, with a truth that the pipeline never reads."""

from pipelines.simulate.run import simulate

__all__ = ["simulate"]
