"""A published day, loaded as the tables that explanations read."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from expectations import policy
from models import model_set as models
from pipelines.core.database import read_query
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches.exploration_log import create_propensity_view
from pipelines.matches.shadow_price_text import PRICES
from pipelines.matches.shadow_prices import create_product_prices
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.eligibility.rules import CompiledRules, Product
from pipelines.pairs.valuation import likely_enough_sql, recompute_value_sql, worthwhile_sql

Row = dict[str, Any]


@dataclass(frozen=True)
class PublishedDay:
    """The tables of a day and what else its explanations share."""

    connection: duckdb.DuckDBPyConnection
    """With `leads`, `products`, `closed_products` and the views `scored` (all scored pairs, with
    value, `is_likely_enough`, `is_worthwhile`, `is_planned`, `propensity`, `price_of_quota`,
    `net_value` (after all shadow prices), and `is_made` of a pair in the exploration
    draw), `matches`, `unmatched`, `mart_leads`, `prices`."""
    settings: Settings
    day: date
    rules: CompiledRules
    stated_rules: dict[Product, list[Row]] = field(repr=False)
    """Product -> its rows of the feed `product_rules`."""
    versions: Row
    """`policy_version` and `models` of the matches."""

    def query(self, sql: str, **parameters: Any) -> list[Row]:
        """Return the rows of a query."""
        rows: list[Row] = (
            self.connection.sql(sql, params=parameters or None).to_arrow_table().to_pylist()
        )
        return rows

    def query_file(self, name: str, **parameters: Any) -> list[Row]:
        """Return the rows of the query `sql/NAME.sql`."""
        return self.query(read_query(Path(__file__).parent / "sql" / f"{name}.sql"), **parameters)

    def load_models(self) -> models.ModelSet:
        """Return the models that scored the day.

        Raises:
            InputMissing: The registry now has other models for the day.
        """
        model_set = models.load(self.settings, self.day)
        if model_set.version != self.versions["models"]:
            raise InputMissing(
                f"{self.day} was scored by the models {self.versions['models']}, but the registry "
                f"now gives {model_set.version} for it. Nothing was explained. Run the day again."
            )
        return model_set


def load_day(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> PublishedDay:
    """Return the day as it was published.

    Raises:
        InputMissing: Marts, pairs or matches of `day` are not published, or the current policies
            are not the ones that it was matched under.
    """
    marts, pairs, matches, unmatched = (
        settings.day_folder(root, day)
        for root in (settings.marts, settings.pairs, settings.matches, settings.unmatched)
    )
    manifest = [read_manifest(folder) for folder in (marts, pairs, unmatched, matches)][-1]
    pinned = manifest.get("policy_version")
    if pinned != policy.version():
        raise InputMissing(
            f"{day} was matched under the policies {pinned}; the current "
            f"policies are {policy.version()} and would decide otherwise. Nothing was explained. "
            f"`banyan policy export {pinned} FOLDER` writes the earlier ones, "
            "and `BANYAN_POLICY_FOLDER=FOLDER banyan explain …` explains the day by them."
        )
    load_leads(connection, marts)
    rules = load_products(connection, marts, day)
    for name, file in (
        ("mart_leads", marts / "leads.parquet"),
        ("unmatched", unmatched / "unmatched.parquet"),
    ):
        connection.read_parquet(str(file), hive_partitioning=False).create_view(name)
    create_propensity_view(connection, matches)
    create_product_prices(connection, pq.read_table(matches / PRICES, partitioning=None))
    connection.execute(
        f"""
        create view scored as
        select
            valued.*, {worthwhile_sql()} as is_worthwhile,
            {likely_enough_sql()} as is_likely_enough,
            coalesce(is_planned, false) as is_planned,
            coalesce(propensity, 0.0) as propensity,
            if(is_randomised, is_made, null) as is_made,
            product_prices.price_of_quota,
            value_before_quota(valued, product_prices) - product_prices.price_of_quota
                as net_value
        from ({recompute_value_sql(pairs / "pairs.parquet", day)}) as valued
        left join propensities using (channel_id, lead_id, institution_id, product_id)
        join products using (institution_id, product_id)
        join product_prices using (product_row)
        """
    )
    stated_rules: dict[Product, list[Row]] = defaultdict(list)
    for rule in pq.read_table(marts / "product_rules.parquet").to_pylist():
        stated_rules[rule["institution_id"], rule["product_id"]].append(rule)
    versions = {name: manifest[name] for name in ("policy_version", "models")}
    return PublishedDay(connection, settings, day, rules, dict(stated_rules), versions)
