"""From the scored pairs to the plan of a day: arrays for the allocation, and the limits on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expectations.policy_types import Guarantees, Limits
from pipelines.allocation.allocate import Plan, allocate
from pipelines.allocation.problem import (
    INTEGER_TOLERANCE,
    Limit,
    PairColumns,
    build_budget_limit,
    build_quota_limit,
    find_sort_order,
)
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.database import run_query, spill_tables
from pipelines.matches.guarantees import (
    FeeFloor,
    PairTerms,
    build_fee_floor,
    build_product_guarantees,
    load_cost_of_leads,
)
from pipelines.matches.match_id import SQL
from pipelines.matches.policy_limits import (
    LimitFamily,
    LimitInputs,
    Product,
    build_concentration_caps,
    build_exposure_caps,
    build_exposure_floors,
    build_floors,
    build_pacing_caps,
)
from pipelines.matches.shadow_prices import LimitUse, build_price_table, measure_use

PORTION = 2_000_000
"""Pairs that are read together: bounds the memory, never changes the result."""
EXACT_UP_TO = 5_000_000
"""Pairs up to which the plan within quotas alone is solved first, exactly."""
INTEGER_COLUMNS = ("lead_row", "offers_row", "institution_row", "product_row")
TERM_COLUMNS = ("expected_spend", "revenue", "adjusted_fee", "p_approve", "p_funded")
FLOAT_COLUMNS = ("expected_value", *TERM_COLUMNS)


@dataclass(frozen=True)
class DayPlan:
    """The plan of a day, as row numbers of table `pairs`, and its certificate."""

    chosen: IntArray
    budget_exhausted: IntArray
    """Pairs not chosen whose spend exceeds the remaining budget of their product."""
    share_exhausted: IntArray
    """Pairs not chosen whose channel or group has its full share of the product."""
    guarantee_exhausted: IntArray
    """Pairs not chosen that a guarantee of their product leaves no room for."""
    value: float
    bound: float
    """No plan within quotas, budgets, offers a lead and policy limits has a greater value;
    infeasible floors count as relaxed."""
    gap: float
    """Certified gap, a share of the bound."""
    price_of_quota: FloatArray
    """Shadow price of one more lead a day, by `product_row`."""
    cost_of_leads: float
    """What the day's leads cost, in the base currency, whether or not they are matched."""
    fee_floor: LimitUse | None
    """Least expected fees of the day, as stated, with the plan's fees; None: no such guarantee."""
    price_of_budget: FloatArray
    """Shadow price of one more unit of money a day (the product's currency), by `product_row`; for
    products that pay per lead it is part of the price of quota."""
    price_table: pa.Table
    """Every limit, its use and its shadow price; see `shadow_prices.SCHEMA`."""
    min_shortfall: int
    """Lower bound on the total shortfall of the floors: proven, perhaps not attained."""
    pairs: PairColumns
    """The pairs of the problem, by lead, institution and product."""
    row: IntArray
    """The row number in table `pairs` of each pair of the problem."""
    is_planned: BoolArray
    """Which pairs of the problem are chosen."""
    quota: IntArray
    """Leads a day that each product can take and pay for, by `product_row`."""
    limits: tuple[Limit, ...]
    """Further limits of the problem."""
    prices: Mapping[str, FloatArray]
    """Shadow prices by name of the limit, as `Plan.prices`."""


def plan_day(
    connection: duckdb.DuckDBPyConnection,
    day: date,
    *,
    max_offers: int,
    limits: Limits,
    guarantees: Guarantees,
) -> DayPlan:
    """Return the best plan of a day.

    A product that pays per lead spends the same for every match, so its budget is a quota; the
    budget of any other product limits the expected spend.

    Args:
        connection: With the tables `mart_leads`, `leads` (`lead_row`), `shared_offers`, `products`
            (`product_row`), `channel_costs`, `pairs` (`row`: its position in the file) and
            `drawn_pairs`.
        day: The business date.
        max_offers: Most matches of one lead, and of the leads of one phone together.
        limits: The policy limits of the day.
        guarantees: What the plan guarantees to persons, institutions and the platform.

    Raises:
        IntegrityError: A policy limit names a column that the leads don't have.
    """
    catalogue = _load_catalogue(connection)
    row, pairs, spend, terms = _load_pairs(connection, day)
    inputs = LimitInputs(connection, pairs, catalogue.affordable, catalogue.products)
    spend_budget = np.where(catalogue.is_per_lead, np.nan, catalogue.budget)
    budget = build_budget_limit(pairs.product, spend, spend_budget)
    caps = [
        *build_pacing_caps(inputs, limits.pacing),
        *build_exposure_caps(inputs, limits.exposure),
        *build_concentration_caps(inputs, limits.concentration),
    ]
    families = [*caps, *build_floors(inputs, limits.floors)]
    ratios = build_product_guarantees(inputs, terms, guarantees)
    limits_so_far = [
        budget,
        *(each.family.limit for each in ratios),
        *(family.limit for family in families),
    ]
    spill_tables(connection)  # the pairs of a large day are in arrays from here on
    solver = _Solver(pairs, catalogue.affordable, max_offers)
    plan = solver.solve(limits_so_far)
    if exposure_floors := build_exposure_floors(inputs, limits.exposure, len(plan.rows)):
        families += exposure_floors
        limits_so_far += [family.limit for family in exposure_floors]
        plan = solver.solve(limits_so_far)
    cost_of_leads = load_cost_of_leads(connection)
    fee_floor = build_fee_floor(terms, guarantees.fees_to_cost * cost_of_leads)
    if fee_floor is not None:
        plan, limit = solver.hold_fees(
            plan, limits_so_far, fee_floor, highest_price=guarantees.highest_price_of_fees
        )
        limits_so_far.append(limit)
    fees = None if fee_floor is None else fee_floor.measure_use(plan)
    uses = [*_measure_product_limits(inputs, catalogue, budget, plan)]
    uses += [each.measure_use(plan) for each in ratios]
    uses += [] if fees is None else [fees]
    uses += [measure_use(plan, family) for family in families]
    return DayPlan(
        chosen=np.sort(row[plan.rows]),
        budget_exhausted=row[_find_exhausted([budget], plan)],
        share_exhausted=row[_find_exhausted([cap.limit for cap in caps], plan)],
        guarantee_exhausted=row[_find_exhausted([each.family.limit for each in ratios], plan)],
        value=plan.value,
        bound=plan.bound,
        gap=plan.gap,
        price_of_quota=plan.price_of_quota,
        cost_of_leads=cost_of_leads,
        fee_floor=fees,
        price_of_budget=plan.limit_prices(budget),
        price_table=build_price_table(uses),
        min_shortfall=plan.min_shortfall + sum(f.infeasible_leads for f in families),
        pairs=pairs,
        row=row,
        is_planned=plan.chosen,
        quota=catalogue.affordable,
        limits=tuple(limits_so_far),
        prices=plan.prices,
    )


class _Solver:
    """Plans of the day's pairs.

    The plan within quotas alone is exact. It is kept where it satisfies every other limit; else its
    prices are where the search for the plan within all limits starts. A day with more than
    `EXACT_UP_TO` pairs does without it.
    """

    def __init__(self, pairs: PairColumns, quota: IntArray, max_offers: int) -> None:
        self._pairs, self._quota, self._max_offers = pairs, quota, max_offers
        self._start: Plan | None = None
        if len(pairs.lead) <= EXACT_UP_TO:
            self._start = allocate(pairs, quota, max_offers=max_offers)

    def solve(self, limits: Sequence[Limit]) -> Plan:
        """Return the best plan within quotas and `limits`."""
        plan = self._start
        if plan is not None and all(limit.is_satisfied(plan.rows) for limit in limits):
            return plan
        return self._allocate(self._pairs, limits, plan)

    def hold_fees(
        self, plan: Plan, limits: Sequence[Limit], floor: FeeFloor, *, highest_price: float
    ) -> tuple[Plan, Limit]:
        """Return the best plan that also earns the fees of a floor, and the floor that it keeps.

        Where the last unit of fees would cost more value than `highest_price`, the floor is lowered
        to the fees of the best plan that values fees at this price: a platform that can't earn its
        leads' cost from good matches says so, and doesn't sell bad ones.

        Args:
            plan: The best plan within `limits`.
            limits: All other limits.
            floor: The least fees.
            highest_price: Value that one unit of fees may cost.
        """
        limit = floor.family.limit
        if limit.is_satisfied(plan.rows):
            return plan, limit
        dearest = self._pairs.value + highest_price * floor.adjusted_fee
        priced_pairs = replace(self._pairs, value=dearest)
        priced = self._allocate(priced_pairs, limits, plan)
        if not limit.is_satisfied(priced.rows):
            limit = replace(limit, upper=limit.total_use(priced.rows))
        if limit.is_satisfied(plan.rows):
            return plan, limit
        return self._allocate(self._pairs, [*limits, limit], plan), limit

    def _allocate(self, pairs: PairColumns, limits: Sequence[Limit], start: Plan | None) -> Plan:
        return allocate(
            pairs,
            self._quota,
            max_offers=self._max_offers,
            limits=limits,
            start=None if start is None else start.prices,
        )


def _find_exhausted(limits: Sequence[Limit], plan: Plan) -> IntArray:
    """Return the pairs not chosen that need more of a row than the plan leaves."""
    is_exhausted: BoolArray = np.zeros_like(plan.chosen)
    for limit in limits:
        slack = np.append(limit.upper - limit.total_use(plan.rows), np.inf)
        is_exhausted |= limit.pair_use(np.arange(len(limit.row))) > slack[limit.row]
    return np.flatnonzero(is_exhausted & ~plan.chosen)


def compute_affordable_quota(
    quota: IntArray, budget: FloatArray, price: FloatArray, is_per_lead: BoolArray
) -> IntArray:
    """Return the leads a day that each product can take and, paying per lead, can pay for.

    Args:
        quota: Most leads a day.
        budget: Largest spend a day, in the product's currency; NaN: unlimited.
        price: Price of one lead where `is_per_lead`, in the same currency.
        is_per_lead: Flag of products that pay per lead.
    """
    is_limited = is_per_lead & np.isfinite(budget) & (price > 0)
    affordable = np.full(len(quota), np.inf)
    affordable[is_limited] = np.floor(budget[is_limited] / price[is_limited] + INTEGER_TOLERANCE)
    return np.asarray(np.minimum(quota, affordable), dtype=np.int64)


@dataclass(frozen=True)
class _Catalogue:
    """Terms of the products, by `product_row`."""

    products: list[Product]
    quota: IntArray
    budget: FloatArray
    price: FloatArray
    is_per_lead: BoolArray

    @property
    def affordable(self) -> IntArray:
        """Return the leads a day that each product can take and, paying per lead, can pay for."""
        return compute_affordable_quota(self.quota, self.budget, self.price, self.is_per_lead)


def _load_catalogue(connection: duckdb.DuckDBPyConnection) -> _Catalogue:
    columns = run_query(connection, SQL / "product_terms.sql").fetchnumpy()
    keys = zip(columns["institution_id"], columns["product_id"], strict=True)
    return _Catalogue(
        products=[(str(institution), str(product)) for institution, product in keys],
        quota=_as_integers(columns["quota"]),
        budget=_as_floats(columns["budget"]),
        price=_as_floats(columns["price"]),
        is_per_lead=np.asarray(columns["is_per_lead"], np.bool_),
    )


def _measure_product_limits(
    inputs: LimitInputs, catalogue: _Catalogue, budget: Limit, plan: Plan
) -> tuple[LimitUse, LimitUse]:
    """Return the use and the shadow prices of quotas and budgets.

    Where a product pays per lead and its budget pays for fewer leads than its quota, the shadow
    price of the quota is the budget's.
    """
    owners, price = inputs.product_owners(), plan.price_of_quota
    quota = build_quota_limit(inputs.pairs.product, catalogue.quota)
    matches = quota.total_use(plan.rows)
    is_budget_tighter = catalogue.affordable < catalogue.quota
    budget_price = np.where(catalogue.is_per_lead, 0.0, plan.limit_prices(budget))
    budget_price[is_budget_tighter] = price[is_budget_tighter] / catalogue.price[is_budget_tighter]
    spent = np.where(
        catalogue.is_per_lead,
        matches * catalogue.price,
        budget.total_use(plan.rows) / budget.units,
    )
    quota_price = np.where(is_budget_tighter, 0, price)
    return (
        LimitUse(LimitFamily("quota", quota, owners, quota.upper), matches, quota_price),
        LimitUse(LimitFamily("budget", budget, owners, catalogue.budget), spent, budget_price),
    )


def _load_pairs(
    connection: duckdb.DuckDBPyConnection, day: date
) -> tuple[IntArray, PairColumns, FloatArray, PairTerms]:
    """Return table `pairs` as arrays in the order of the solver: row, pairs, spend and terms.

    Leads that share the offers of one lie apart in the table. The arrays are sorted here, once, and
    not by each search. The tie-break key of a pair depends on the date and its own keys alone, so
    the order between equal pairs is random and doesn't depend on other leads. The pairs are read in
    portions, so that memory holds the arrays once.
    """
    ((count, end),) = connection.sql(
        "select count(*), coalesce(max(row) + 1, 0) from pairs"
    ).fetchall()
    integers = {name: np.empty(count, np.int64) for name in INTEGER_COLUMNS}
    floats = {name: np.empty(count, np.float64) for name in FLOAT_COLUMNS}
    tie_break_key = np.empty(count, np.int64)
    loaded = 0
    for first in range(0, end, PORTION):
        portion = {"day": day.isoformat(), "first": first, "last": first + PORTION}
        columns = run_query(connection, SQL / "pair_columns.sql", portion).fetchnumpy()
        rows = slice(loaded, loaded + len(columns["lead_row"]))
        for name, array in (integers | floats).items():
            array[rows] = np.asarray(columns[name])
        tie_break_key[rows] = _mix_hashes(
            *(np.asarray(columns[name], np.uint64) for name in ("lead_hash", "product_hash"))
        )
        loaded = rows.stop
    lead, own_lead = integers["offers_row"], integers["lead_row"]
    pairs = PairColumns(
        lead=lead,
        institution=integers["institution_row"],
        product=integers["product_row"],
        value=floats["expected_value"],
        tie_break_key=tie_break_key,
        sharing_lead=None if (lead == own_lead).all() else own_lead,
    )
    row = np.arange(count)
    if (order := find_sort_order(pairs)) is not None:
        row, pairs = order, pairs.take(order)
        for name in TERM_COLUMNS:
            floats[name] = floats[name][order]
    terms = PairTerms(
        fee=floats["revenue"],
        adjusted_fee=floats["adjusted_fee"],
        p_approve=floats["p_approve"],
        p_funded=floats["p_funded"],
    )
    return row, pairs, floats["expected_spend"], terms


def _mix_hashes(lead_hash: NDArray[np.uint64], product_hash: NDArray[np.uint64]) -> IntArray:
    """Return a uniform number below 2**32 for each pair of hashes (splitmix64's finaliser)."""
    mixed = lead_hash ^ (product_hash * np.uint64(0x9E3779B97F4A7C15))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return _as_integers((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32))


def _as_integers(column: NDArray[np.generic]) -> IntArray:
    return np.asarray(column, dtype=np.int64)


def _as_floats(column: NDArray[np.generic]) -> FloatArray:
    return np.asarray(column, dtype=np.float64)
