"""What the matching was worth, in money: the published matches beside three other ways to match."""

from pipelines.evaluation.scorecard.run import control, scorecard, scorecard_page

__all__ = ["control", "scorecard", "scorecard_page"]
