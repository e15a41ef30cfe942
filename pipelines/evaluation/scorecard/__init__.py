"""The scorecard: the value of the published matches beside three other ways to match."""

from pipelines.evaluation.scorecard.run import (
    compute_negative_control,
    compute_scorecard,
    publish_scorecard,
)

__all__ = ["compute_negative_control", "compute_scorecard", "publish_scorecard"]
