"""A published day, loaded for whoever asks about it."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb
import pyarrow.parquet as pq

from expectations import policy
from models import model_set as models
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches.exploration_log import KEY, create_chances_view
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.eligibility.rules import CompiledRules, Product
from pipelines.pairs.valuation import minimum_value_sql, recompute_value_sql

Row = dict[str, Any]


@dataclass(frozen=True)
class Explained:
    """What the explanations of one day share."""

    connection: duckdb.DuckDBPyConnection
    """With `leads`, `products`, `closed_products` and the views `scored` (all scored pairs, with
    value, `is_worthwhile`, `is_planned`, the `propensity` with which it was made a match, and
    `is_made` where the lot decided), `matches`, `unmatched`, `mart_leads`, `prices`."""
    settings: Settings
    day: date
    rules: CompiledRules
    stated_rules: dict[Product, list[Row]] = field(repr=False)
    """Product -> its rows of the feed `product_rules`."""
    made_by: Row
    """`policy_version` and `models` of the matches."""

    def rows(self, sql: str, **given: Any) -> list[Row]:
        """Return the rows of a query."""
        found: list[Row] = (
            self.connection.sql(sql, params=given or None).to_arrow_table().to_pylist()
        )
        return found

    def model_set(self) -> models.ModelSet:
        """Return the models that scored the day.

        Raises:
            InputMissing: Those of now are others.
        """
        found = models.load(self.settings, self.day)
        if found.version != self.made_by["models"]:
            raise InputMissing(
                f"{self.day} was scored by the models {self.made_by['models']}, but the registry "
                f"now gives {found.version} for it. Nothing was explained. Run the day again."
            )
        return found


def load_day(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> Explained:
    """Return the day as it was published.

    Raises:
        InputMissing: Marts, pairs or matches of `day` are not published, or other policies than
            those of now decided.
    """
    marts, pairs, matches, unmatched = (
        settings.day_folder(root, day)
        for root in (settings.marts, settings.pairs, settings.matches, settings.unmatched)
    )
    made_by = [read_manifest(folder) for folder in (marts, pairs, unmatched, matches)][-1]
    if made_by["policy_version"] != policy.version():
        raise InputMissing(
            f"{day} was matched under the policies {made_by['policy_version']}; those of now are "
            f"{policy.version()} and would decide otherwise. Nothing was explained. Put the files "
            "of expectations/policy back as they were, or run the day again."
        )
    load_leads(connection, marts)
    rules = load_products(connection, marts, day)
    for name, file in (
        ("mart_leads", marts / "leads.parquet"),
        ("unmatched", unmatched / "unmatched.parquet"),
    ):
        connection.read_parquet(str(file), hive_partitioning=False).create_view(name)
    create_chances_view(connection, matches)
    connection.execute(
        f"""
        create view scored as
        select
            valued.*, {minimum_value_sql()} as is_worthwhile,
            coalesce(is_planned, false) as is_planned,
            coalesce(propensity, 0.0) as propensity,
            if(is_by_lot, is_made, null) as is_made
        from ({recompute_value_sql(pairs / "pairs.parquet")}) as valued
        left join chances using ({KEY})
        """
    )
    connection.execute(
        """
        create view prices as
        select institution_id, product_id, max(price_of_quota) as price_of_quota
        from matches
        group by all
        """
    )
    stated: dict[Product, list[Row]] = defaultdict(list)
    for rule in pq.read_table(marts / "product_rules.parquet").to_pylist():
        stated[rule["institution_id"], rule["product_id"]].append(rule)
    kept = {name: made_by[name] for name in ("policy_version", "models")}
    return Explained(connection, settings, day, rules, dict(stated), kept)
