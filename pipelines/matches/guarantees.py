"""What the plan of a day guarantees, as linear limits: no dumping, agreed costs, covered costs.

With x_i = 1 for a chosen pair i of product j

    approval_rate       sum of (drawn rate_j - p_approve_i) x_i           <= 0
    cost_per_funded     sum of (fee_i - highest cost_j x p_funded_i) x_i  <= 0
    cost_per_approval   sum of (fee_i - target_j x p_approve_i) x_i       <= 0
    fees                sum of e_j x fee_i x_i over all products          >= cost of the leads

The drawn rate and cost come from a random draw from the product's own eligible leads, so that
no product is a dump for leads that nobody else wants; the highest cost is the lower of the drawn
one and the institution's target. A place that can't be filled so stays empty. Targets are held
over the day's expectation, as a target cost per action is (Balseiro, Deng, Mao, Mirrokni and Zuo
2021, The landscape of auto-bidding auctions). Of the cost, a share by policy is to be covered.

What the models expect is more than what comes: some matches are never decided, and a plan chooses
where a model is too hopeful (Smith and Winkler 2006, The optimizer's curse). So fees count towards
the floor by their actual-to-expected ratio e_j, which earlier matches of the institution had, and
targets are lowered by that of approvals or loans to that of fees, where it is below 1.
"""

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from expectations.policy_types import Guarantees
from pipelines.allocation.allocate import Plan
from pipelines.allocation.problem import build_money_floor, build_ratio_limit
from pipelines.core.arrays import FloatArray
from pipelines.core.database import run_query
from pipelines.matches.match_id import SQL
from pipelines.matches.policy_limits import OWNER_SCHEMA, LimitFamily, LimitInputs
from pipelines.matches.shadow_prices import LimitUse
from pipelines.pairs.eligibility.load_inputs import MAX_PAIR_VALUE

FEES = "fees"
"""Kind of the floor on the day's expected fees."""


@dataclass(frozen=True)
class PairTerms:
    """What guarantees are made of; columns by pair, money in the base currency."""

    fee: FloatArray
    """Expected by the models."""
    adjusted_fee: FloatArray
    """Times the actual-to-expected ratio of earlier matches."""
    p_approve: FloatArray
    p_funded: FloatArray
    """Probability of approval and take-up."""


@dataclass(frozen=True)
class RatioGuarantee:
    """A family of limits on a ratio of two sums over the matches of a product."""

    family: LimitFamily
    """Its `stated` limit is the ratio."""
    numerator: FloatArray
    denominator: FloatArray

    def measure_use(self, plan: Plan) -> LimitUse:
        """Return the ratio that the plan attains, by product; 0 without a match."""
        limit = self.family.limit
        row, products = limit.row[plan.rows], len(limit.upper)
        numerator, denominator = (
            np.bincount(row, column[plan.rows], products + 1)[:products].astype(np.float64)
            for column in (self.numerator, self.denominator)
        )
        attained = np.zeros(products)
        np.divide(numerator, denominator, out=attained, where=denominator != 0)
        return LimitUse(self.family, attained, plan.limit_prices(limit))


@dataclass(frozen=True)
class FeeFloor:
    """The least expected fees of a day."""

    family: LimitFamily
    adjusted_fee: FloatArray

    def measure_use(self, plan: Plan) -> LimitUse:
        """Return the expected fees of the plan, adjusted."""
        fees = np.array([float(self.adjusted_fee[plan.rows].sum())])
        return LimitUse(self.family, fees, plan.limit_prices(self.family.limit))


def build_product_guarantees(
    inputs: LimitInputs, terms: PairTerms, policy: Guarantees
) -> list[RatioGuarantee]:
    """Return the guarantees of the products, a family each; nothing without a limit.

    Args:
        inputs: With the tables `products` and `drawn_pairs`.
        terms: Of the pairs of `inputs`.
        policy: Which guarantees hold.
    """
    drawn = _load_drawn_rates(inputs.connection)
    least = drawn["drawn_approval_rate"] if policy.approval_rate_as_drawn else None
    costs = [drawn["highest_cost_per_funded"]]
    if policy.cost_per_funded_as_drawn:
        costs.append(drawn["drawn_cost_per_funded"])
    one = np.ones_like(terms.fee)
    # A least rate is a highest ratio with both signs changed.
    stated = [
        ("approval_rate", -terms.p_approve, -one, least),
        ("cost_per_funded", terms.fee, terms.p_funded, np.fmin.reduce(costs)),
        ("cost_per_approval", terms.fee, terms.p_approve, drawn["highest_cost_per_approval"]),
    ]
    return [
        _build_ratio(inputs, kind, numerator, denominator, ratio)
        for kind, numerator, denominator, ratio in stated
        if ratio is not None and np.isfinite(ratio).any()
    ]


def _build_ratio(
    inputs: LimitInputs,
    kind: str,
    numerator: FloatArray,
    denominator: FloatArray,
    ratio: FloatArray,
) -> RatioGuarantee:
    limit = build_ratio_limit(kind, inputs.pairs.product, numerator, denominator, ratio)
    family = LimitFamily(kind, limit, inputs.product_owners(), ratio)
    return RatioGuarantee(family, numerator, denominator)


def build_fee_floor(terms: PairTerms, least: float) -> FeeFloor | None:
    """Return the floor on the day's fees; None if nothing has to be earned.

    Args:
        terms: Of the pairs of the plan.
        least: Least expected fees, in the base currency.
    """
    if not (least > 0 and len(terms.adjusted_fee)):
        return None
    owners = pa.table({name: pa.nulls(1, pa.string()) for name in OWNER_SCHEMA.names}, OWNER_SCHEMA)
    limit = build_money_floor(FEES, terms.adjusted_fee, least)
    return FeeFloor(LimitFamily(FEES, limit, owners, np.array([least])), terms.adjusted_fee)


def load_cost_of_leads(connection: duckdb.DuckDBPyConnection) -> float:
    """Return what the day's leads cost, in the base currency, excluded and unmatched ones included.

    Args:
        connection: With `mart_leads` and `channel_costs`.
    """
    ((cost,),) = run_query(connection, SQL / "cost_of_leads.sql").fetchall()
    return float(cost)


def _load_drawn_rates(connection: duckdb.DuckDBPyConnection) -> dict[str, FloatArray]:
    run_query(connection, SQL / "drawn_rates.sql", {"max_pair_value": MAX_PAIR_VALUE})
    columns = connection.sql("from drawn_rates order by product_row").to_arrow_table()
    return {
        name: np.asarray(columns[name].cast(pa.float64()).to_numpy(), np.float64)
        for name in columns.column_names
        if name != "product_row"
    }
