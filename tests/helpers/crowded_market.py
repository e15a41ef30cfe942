"""A day with binding quotas and budgets, and a large share of exploration."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import policy
from pipelines.core.settings import Settings
from pipelines.pairs.score_day import score
from tests.helpers.day import write_day_before_matching
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY


def set_exploration_share(share: float, patch: pytest.MonkeyPatch) -> None:
    """Set the share of matches that are drawn for exploration."""
    changed = policy.exploration().model_copy(update={"share": share})
    patch.setattr(policy, "exploration", lambda: changed)


def crowded_day(home: Path) -> Settings:
    """Return a scored day whose products have quotas below their leads; some have a budget."""
    write_marts(home / "before", DAY, leads=200, products=12, pairs=40)
    marts = Settings.day_folder(home / "before" / "marts", DAY)
    catalogue = pq.read_table(marts / "products.parquet").to_pylist()
    for number, row in enumerate(catalogue):
        row["daily_quota"] = 20
        row["product_decisions"] = 10 if number < 4 else 100
        row["daily_budget"] = (300.0, 900.0, None)[number % 3]
    table = pa.Table.from_pylist(catalogue, SCHEMAS["products"])
    settings = write_day_before_matching(home, DAY, leads=200, products_table=table)
    score(settings, DAY)
    return settings
