"""The promising pairs of a day that has too many to score; what is lost by it is measured.

The models cost far more a pair than arithmetic. So on a large day they score all pairs of a sample
of leads, drawn by lot. From one half of them is learned what each product approves and has taken up
(`rates`); with these rates every eligible pair is valued, as if by the models, and what places will
cost is guessed (`asking`). What a pair falls behind the offer that its lead would give up for it is
what a plan would lose by it: pairs that fall behind least are kept, so many that a lead has its
share on average, its best few in any case, and each product enough to fill its quota several times.
On the other half of the sample, whose every pair is known, the loss shows (`losses`).
"""

from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.policy_types import Candidates
from models.model_set import ModelSet
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.pairs.approval_rates import learn_rates, part_of_band
from pipelines.pairs.eligibility.bitsets import packed
from pipelines.pairs.eligibility.engine import Eligibility
from pipelines.pairs.prefilter_loss import loss_share
from pipelines.pairs.price_estimates import asking_prices, marginal_offers
from pipelines.pairs.revaluing import TERMS
from pipelines.pairs.scoring import PAIRS_AT_ONCE, valued_pairs
from pipelines.pairs.valuation import priced_sql, valued_sql

PROMISED_AT_ONCE = 10 * PAIRS_AT_ONCE
"""About how many pairs are valued by rates together: they are far cheaper than scored ones."""

PRICED_LEADS = 20_000
"""Leads by which is guessed what places will cost and how far behind a pair may fall."""


@dataclass(frozen=True)
class Cut:
    """The pairs that are scored."""

    judged: Eligibility
    """With the pairs kept; its funnel counts all that the rules leave."""
    sample: pa.Table | None
    """Every pair of the leads that the loss is measured on: keys, `expected_value`, `is_kept`;
    None where nothing was cut."""
    facts: dict[str, Any]


def cut(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    judged: Eligibility,
    limits: Candidates,
) -> Cut:
    """Return the pairs worth scoring: all of them, unless they are more than `most_pairs`.

    Args:
        connection: With `leads` (with `pd`) and `products`.
        model_set: Who scores the sample.
        judged: The eligible pairs.
        limits: How many to keep.
    """
    eligible = int(judged.pairs.sum())
    if eligible <= limits.most_pairs:
        return Cut(judged, None, {})
    sampled = _sampled(connection, limits.sampled_leads)
    scored = _scored_sample(connection, model_set, judged, sampled)
    learn_rates(connection, scored.filter(pc.invert(scored["is_measured"])))
    priced = _sampled(connection, PRICED_LEADS)
    prices, floors = _prices_and_floors(connection, judged, priced, limits)
    most = min(policy.value().most_offers_per_lead, limits.per_lead)
    words = np.zeros_like(judged.words)
    for first, last in judged.portions(PROMISED_AT_ONCE):
        lead, product, promise = _promise(connection, judged.table(first, last))
        place, ahead = _ahead(lead, promise - prices[product], most)
        keeps = (place < most) | (ahead >= floors[product])
        flags = np.zeros((last - first, judged.products), np.bool_)
        flags[lead[keeps] - first, product[keeps]] = True
        words[first:last] = packed(flags)
    kept = replace(judged, words=words)
    measured = _measured(connection, scored, kept)
    facts = {
        "eligible": eligible,
        "kept": int(kept.pairs.sum()),
        "sampled_leads": len(sampled),
        "loss_with_free_quotas": loss_share(connection, measured, {}),
    }
    return Cut(kept, measured, facts)


def _sampled(connection: duckdb.DuckDBPyConnection, leads: int) -> IntArray:
    """Return the `lead_row` of leads drawn by a lot that their own keys decide, in its order."""
    drawn = connection.execute(
        "select lead_row from leads "
        "order by md5_number_lower(concat_ws(chr(31), channel_id, lead_id)), lead_row limit ?",
        [leads],
    ).fetchnumpy()["lead_row"]
    return np.asarray(drawn, np.int64)


def _scored_sample(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    judged: Eligibility,
    sampled: IntArray,
) -> pa.Table:
    """Return every pair of the sampled leads, scored and valued; `is_measured`: of the half that
    nothing is learned from."""
    pairs = judged.of_leads(sampled)
    measured = np.isin(pairs["lead_row"].to_numpy(), sampled[1::2])
    pairs = pairs.append_column("is_measured", pa.array(measured))
    parts = [
        valued_pairs(connection, model_set, pairs.slice(start, PAIRS_AT_ONCE))
        for start in range(0, pairs.num_rows, PAIRS_AT_ONCE)
    ]
    connection.register("cut_drawn", pairs)
    connection.register("cut_valued", pa.concat_tables(parts))
    found = connection.sql(
        "from cut_drawn join cut_valued using (lead_row, product_row) "
        "order by lead_row, product_row"
    ).to_arrow_table()
    connection.unregister("cut_drawn")
    connection.unregister("cut_valued")
    return found


def _promise(
    connection: duckdb.DuckDBPyConnection, pairs: pa.Table
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return lead, product and value by rates of some pairs, ordered by key."""
    connection.register("cut_pairs", pairs)
    names = (*TERMS, "apr_min", "apr_max", "price_cap", "pd_min", "pd_max")
    rated = f"""(
        select
            lead_row, product_row, amount, term_months, pd,
            {", ".join(f"products.{name}" for name in names)},
            cut_rates.p_approve, cut_rates.p_fund, null::double as cost_per_lead
        from cut_pairs
        join leads using (lead_row)
        join products using (product_row)
        join cut_rates using (product_row)
        where cut_rates.part = {part_of_band("leads.pd", "products.pd_max")}
    )"""
    found = connection.sql(
        f"""
        select lead_row, product_row, expected_value
        from ({valued_sql(f"({priced_sql(rated)})", policy.value())})
        order by lead_row, product_row
        """
    ).fetchnumpy()
    connection.unregister("cut_pairs")
    lead, product = (np.asarray(found[name], np.int64) for name in ("lead_row", "product_row"))
    return lead, product, np.asarray(found["expected_value"], np.float64)


def _ahead(lead: IntArray, worth: FloatArray, most_offers: int) -> tuple[IntArray, FloatArray]:
    """Return each pair's place among its lead's, and how far it is ahead of what it displaces."""
    place, given_up = marginal_offers(lead, worth, most_offers)
    return place, worth - given_up


def _prices_and_floors(
    connection: duckdb.DuckDBPyConnection, judged: Eligibility, leads: IntArray, limits: Candidates
) -> tuple[FloatArray, FloatArray]:
    """Return by product what a place will cost, and how far ahead (mostly below 0) a pair must be.

    The floor is the same for all products, so that leads keep `per_lead` pairs on average, and
    lower for a product that would not find `quota_times` its quota above it.
    """
    share = len(leads) / len(judged.words)
    most = min(policy.value().most_offers_per_lead, limits.per_lead)
    quota = share * np.asarray(
        connection.sql("select daily_quota from products order by product_row").fetchnumpy()[
            "daily_quota"
        ],
        np.float64,
    )
    lead, product, promise = _promise(connection, judged.of_leads(leads))
    prices = asking_prices(lead, product, promise, quota, most)
    place, ahead = _ahead(lead, promise - prices[product], most)
    extra = np.sort(ahead[place >= most])[::-1]
    room = max(0, limits.per_lead - most) * len(leads)
    floor = extra[room] if room < len(extra) else -np.inf
    return prices, np.minimum(
        floor, _floors_of_products(product, ahead, place < most, quota, limits)
    )


def _floors_of_products(
    product: IntArray, ahead: FloatArray, is_best: BoolArray, quota: FloatArray, limits: Candidates
) -> FloatArray:
    """Return the floor above which each product finds several times its quota."""
    wanted = np.maximum(1, np.ceil(limits.quota_times * quota)).astype(np.int64)
    order = np.lexsort((-np.where(is_best, np.inf, ahead), product))
    ends = np.searchsorted(product[order], np.arange(len(quota) + 1))
    has_enough = np.diff(ends) > wanted
    floors = np.full(len(quota), -np.inf)
    floors[has_enough] = ahead[order][(ends[:-1] + wanted - 1)[has_enough]]
    return floors


def _measured(
    connection: duckdb.DuckDBPyConnection, scored: pa.Table, kept: Eligibility
) -> pa.Table:
    half = scored.filter(scored["is_measured"])
    lead, product = (half[name].to_numpy() for name in ("lead_row", "product_row"))
    bits = kept.words[lead, product // 64] >> (product % 64).astype(np.uint64)
    connection.register(
        "cut_half", half.append_column("is_kept", pa.array((bits & 1).astype(bool)))
    )
    found = connection.sql(
        "select channel_id, lead_id, institution_id, product_id, expected_value, is_kept "
        "from cut_half order by all"
    ).to_arrow_table()
    connection.unregister("cut_half")
    return found
