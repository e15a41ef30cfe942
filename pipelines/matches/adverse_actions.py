"""Leads that a model left without a match, each with the product and the probability that counted.

Three stages rest on a model. At `risk_band` the lead's risk lies outside what every product that it
could have had is priced for. At `low_value` and `quota` its chance of approval, at the product that
was worth most, was too low to pay or lower than that of others who wanted the same places.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from models.explanations.reasons import Effect
from models.model_set import ModelSet
from pipelines.pairs.eligibility.engine import STATED_STEPS, STEPS, Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.rules import CompiledRules
from pipelines.pairs.scoring import load_pair_features
from pipelines.pairs.valuation import value_sql

LEADS_AT_ONCE = 5_000
"""Leads whose products are looked at together: bounds the memory, never changes the result."""


@dataclass(frozen=True)
class Declined:
    """Leads that one probability left without a match."""

    model: str
    effect: Effect
    """What spoke against them: that which raises their risk, or lowers their approval."""
    rows: pa.Table
    """All that the models read, with `stage`, and `institution_id` and `product_id` of the product
    that counted (null where none is)."""


def declines(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, rules: CompiledRules, day: date
) -> Iterator[Declined]:
    """Yield the leads of table `without_match` whose stage rests on a model, by probability.

    Args:
        connection: Where the day is matched: `leads` with their pd, `products`,
            `pairs` and `without_match`.
        model_set: Who scored the day.
        rules: What the products' own rules ask.
        day: The business date.
    """
    fits = _Fits(connection, rules, day)
    yield from _outside_bands(connection, fits)
    yield from _too_little_worth(connection, model_set, fits)
    best = load_pair_features(connection, _BEST_PAIR)
    yield Declined("approval", "lowers", _staged(best, "quota"))


@dataclass(frozen=True)
class _Fits:
    """Finds the products that a lead of a portion could have had."""

    connection: duckdb.DuckDBPyConnection
    rules: CompiledRules
    day: date

    def portions(self, stage: str) -> Iterator[tuple[int, int]]:
        """Yield the first and last row of leads without a match at `stage`, in portions."""
        yield from self.connection.execute(
            f"""
            select min(lead_row), max(lead_row)
            from (
                select lead_row, row_number() over (order by lead_row) as number
                from leads join without_match using (channel_id, lead_id)
                where stage = $stage
            )
            group by (number - 1) // {LEADS_AT_ONCE}
            order by all
            """,
            {"stage": stage},
        ).fetchall()

    def find(self, stage: str, portion: tuple[int, int], judged: Eligibility) -> None:
        """Create table `fitting`: what `judged` leaves of the pairs of the leads of a portion."""
        rows = self.connection.execute(
            """
            select lead_row
            from leads join without_match using (channel_id, lead_id)
            where stage = $stage and lead_row between $first and $last
            order by lead_row
            """,
            {"stage": stage, "first": portion[0], "last": portion[1]},
        ).fetchnumpy()["lead_row"]
        self.connection.register("found", judged.pairs_of(np.asarray(rows, np.int64)))
        self.connection.execute("create or replace table fitting as from found")
        self.connection.unregister("found")

    def judged(self, steps: Collection[str]) -> Eligibility:
        """Return what these steps leave of the day's pairs."""
        return find_eligible_pairs(self.connection, self.rules, self.day, steps)


def _outside_bands(connection: duckdb.DuckDBPyConnection, fits: _Fits) -> Iterator[Declined]:
    """Yield the leads whose risk is above every band, or that lie below the ones that are left."""
    stage, judged = "risk_band", fits.judged(STATED_STEPS)
    for portion in fits.portions(stage):
        fits.find(stage, portion, judged)
        meant: tuple[tuple[Effect, str], ...] = (("raises", ""), ("lowers", "not"))
        for effect, is_meant in meant:
            rows = connection.sql(
                f"""
                select
                    leads.*,
                    cast(null as varchar) as institution_id, cast(null as varchar) as product_id
                from leads
                join (
                    select lead_row
                    from fitting join leads using (lead_row) join products using (product_row)
                    group by lead_row
                    having {is_meant} bool_or(coalesce(pd_max, 1) < pd)
                ) using (lead_row)
                order by lead_row
                """
            ).to_arrow_table()
            yield Declined("risk", effect, _staged(rows, stage))


def _too_little_worth(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, fits: _Fits
) -> Iterator[Declined]:
    """Yield the leads whose every product was worth too little, each with the one worth most."""
    stage, judged = "low_value", fits.judged(STEPS)
    for portion in fits.portions(stage):
        fits.find(stage, portion, judged)
        scored = model_set.score(load_pair_features(connection, "from fitting"))
        connection.register("scored_again", scored)
        valued = value_sql("scored_again", policy.value())
        best = connection.sql(
            f"""
            select lead_row, product_row
            from ({valued})
            qualify row_number() over (
                partition by lead_row order by expected_value desc, product_row
            ) = 1
            """
        ).to_arrow_table()
        connection.register("best_of_all", best)
        rows = load_pair_features(connection, "from best_of_all")
        yield Declined("approval", "lowers", _staged(rows, stage))


_BEST_PAIR = """
    select lead_row, product_row
    from pairs
    join leads using (channel_id, lead_id)
    join products using (institution_id, product_id)
    join without_match using (channel_id, lead_id)
    where stage = 'quota'
    qualify row_number() over (
        partition by lead_row order by expected_value desc, product_row
    ) = 1
"""


def _staged(rows: pa.Table, stage: str) -> pa.Table:
    return rows.append_column("stage", pa.repeat(stage, rows.num_rows))
