"""What the shown pairs bring by the truth of a simulated market: expectations, not draws."""

from collections.abc import Mapping
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from pipelines.pairs.value import valued_sql
from pipelines.scorecard.figures import Sums
from pipelines.scorecard.greedy import Integers, Numbers
from pipelines.scorecard.market import DayMarket
from pipelines.scorecard.policies import shown_by
from pipelines.simulate.answers import Shown
from pipelines.simulate.market import Market
from pipelines.simulate.truth import asked_on, lead_positions, product_positions, truth_of


def sums_by_truth(
    connection: duckdb.DuckDBPyConnection, market: DayMarket, world: Market
) -> Mapping[str, Sums]:
    """Return what each policy brings, by lead.

    Take-up depends on place and rivals, so approved, funded and money follow from the offers that
    a policy really shows. Value can't: the plan worth most is only defined where a pair's worth is
    its own. So `value`, the best offer and the oracle's plan take each pair as if it were the
    lead's only offer; then no policy's value exceeds the oracle's.
    """
    truth = TruthOfDay(market, world)
    own = valued(connection, market, truth.alone())
    value = np.asarray(own["expected_value"].to_numpy(), np.float64)
    ranks = shown_by(market, value)
    best = best_of_lead(market, value)
    oracle_value = by_lead(market, np.where(ranks["oracle"] > 0, value, 0))
    return {
        name: _sums(connection, market, truth, rank)
        | {
            "best_shown": by_lead(market, best & (rank > 0)),
            "has_best": by_lead(market, best),
            "value": by_lead(market, np.where(rank > 0, value, 0)),
            "oracle_value": oracle_value,
        }
        for name, rank in ranks.items()
    }


class TruthOfDay:
    """The truth of a day's pairs, in their order, however they are shown."""

    def __init__(self, market: DayMarket, world: Market):
        lead_id, product_id = (
            np.asarray(market.pairs[name].to_pylist(), np.str_)
            for name in ("lead_id", "product_id")
        )
        self._world, self._asked = world, asked_on(world, market.day)
        self._lead = lead_positions(self._asked, lead_id)
        self._product = product_positions(world, product_id)

    def alone(self) -> Shown:
        """Return the truth of each pair as if it were its lead's only offer."""
        first = np.ones(self._lead.size, np.int64)
        return self.shown(first, np.zeros_like(first))

    def shown(self, rank: Integers, rivals: Integers) -> Shown:
        """Return the truth of each pair at its place and beside its rivals.

        A lead or product that the world doesn't know has no chance: its number was spoilt on the
        way, and no institution finds the person.
        """
        lead, product = np.maximum(self._lead, 0), np.maximum(self._product, 0)
        truth = truth_of(self._world, self._asked, lead, product, rank, rivals)
        is_known = (self._lead >= 0) & (self._product >= 0)
        return replace(truth, p_approve=np.where(is_known, truth.p_approve, 0))


def valued(connection: duckdb.DuckDBPyConnection, market: DayMarket, truth: Shown) -> pa.Table:
    """Return the pairs in their order with `revenue` and `expected_value` by the truth."""
    known = {
        "pd": truth.p_default,
        "p_approve": truth.p_approve,
        "p_fund": truth.p_fund,
        "suggested_apr": truth.apr,
        "place": np.arange(market.pairs.num_rows),
    }
    pairs = market.pairs
    for name, column in known.items():
        pairs = pairs.append_column(name, pa.array(column))
    connection.register("by_truth", pairs)
    found = connection.sql(f"from ({valued_sql('by_truth', policy.value())}) order by place")
    return found.to_arrow_table()


def best_of_lead(market: DayMarket, value: Numbers) -> Integers:
    """Return 1 for the pair worth most of each lead that has one worth anything, else 0."""
    lead = market.numbers("lead")
    order = np.lexsort((-value, lead))
    is_first = np.diff(lead[order], prepend=-1) != 0
    best = np.zeros(lead.size, np.int64)
    best[order[is_first]] = 1
    return np.where(value > 0, best, 0)


def by_lead(market: DayMarket, of_pairs: Numbers | Integers) -> Numbers:
    """Return the sum over each lead's pairs."""
    sums = np.bincount(market.numbers("lead"), of_pairs, minlength=market.cost.size)
    return np.asarray(sums, np.float64)


def _sums(
    connection: duckdb.DuckDBPyConnection, market: DayMarket, day: TruthOfDay, rank: Integers
) -> dict[str, Numbers]:
    """Return the columns that follow from what is shown, with its place and rivals."""
    is_shown = rank > 0
    offers = by_lead(market, is_shown.astype(np.int64)).astype(np.int64)
    rivals = np.maximum(offers[market.numbers("lead")] - 1, 0)
    truth = day.shown(np.maximum(rank, 1), rivals)
    found = valued(connection, market, truth)
    funded = truth.p_approve * truth.p_fund
    rate = np.asarray(found["exchange_rate"].to_numpy(), np.float64)
    lent = funded * np.asarray(found["amount"].to_numpy(), np.float64) * rate
    lost = lent * truth.p_default * policy.value().loss_given_default
    columns = {
        "shown": np.ones_like(funded),
        "approved": truth.p_approve,
        "funded": funded,
        "revenue": np.asarray(found["revenue"].to_numpy(), np.float64),
        "defaulted": funded * truth.p_default,
        "lent": lent,
        "interest": lent * truth.apr,
        "kept": lent * truth.apr - lost,
    }
    of_leads = {
        name: by_lead(market, np.where(is_shown, column, 0)) for name, column in columns.items()
    }
    return of_leads | {"cost": market.cost}
