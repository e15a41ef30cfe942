"""Measure the allocation with quotas, budgets in money and pacing, against HiGHS."""

from collections.abc import Sequence
from typing import Any

from pipelines.bench.benchmarks.allocate import measured
from pipelines.core.settings import Settings


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one instance with quotas, budgets and pacing.

    Raises:
        UsageError: An instance without leads, or with more candidates than products.
    """
    return measured("budgets", settings, options)
