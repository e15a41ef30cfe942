"""Small allocation problems with every kind of limit, and their optimum by an integer solver."""

from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from pipelines.allocation.allocate import Plan, allocate
from pipelines.allocation.problem import Limit, build_floor_limit, build_share_limit
from pipelines.allocation.random_instance import (
    RandomInstance,
    add_guarantees,
    generate_instance,
)
from pipelines.allocation.relaxation import SolverOptions

PRODUCTS = 6


def draw_small_market(seed: int) -> tuple[RandomInstance, tuple[Limit, ...]]:
    """Return a market of a few leads with every kind of limit; some floors are infeasible."""
    rng = np.random.default_rng([seed, 1])
    market = generate_instance(int(rng.integers(2, 14)), PRODUCTS, int(rng.integers(1, 6)), seed, 2)
    product = market.candidates.product
    group = (market.candidates.lead % 3) - 1
    product_floor = rng.integers(0, 4, PRODUCTS) * (rng.random(PRODUCTS) < 0.15)
    institution_floor = rng.integers(0, 5, PRODUCTS // 2) * (rng.random(PRODUCTS // 2) < 0.1)
    market = add_guarantees(market, seed, fee_floor=float(rng.uniform(0, 1)))
    return market, (
        *market.limits(),
        build_share_limit("exposure", product, group, 2, share=0.5, quota=market.quota),
        build_floor_limit("product", product, product_floor),
        build_floor_limit("institution", market.candidates.institution, institution_floor),
    )


def solve(market: RandomInstance, limits: tuple[Limit, ...], **how: object) -> Plan:
    return allocate(
        market.candidates,
        market.quota,
        max_offers=market.max_offers,
        limits=limits,
        options=SolverOptions(**how),  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class Optimum:
    value: float
    missed_leads: int
    missed_money: int
    """Least shortfall of the floor of fees in hundredths, at the least shortfall in leads."""


def solve_exactly(market: RandomInstance, limits: tuple[Limit, ...], plan: Plan) -> Optimum:
    """Return the greatest value at the least shortfalls by CP-SAT.

    Where the floor of fees can't be met, the value is the best of plans with the fees of `plan`.
    """
    model, pairs = cp_model.CpModel(), market.candidates
    takes = [model.new_bool_var("") for _ in pairs.lead]
    missed_leads, missed_money = [], []

    def rows_of(code: np.ndarray, each: int) -> list[np.ndarray]:
        return [np.flatnonzero(code == row) for row in range(each)]

    for lead in np.unique(pairs.lead):
        of_lead = np.flatnonzero(pairs.lead == lead)
        model.add(sum(takes[row] for row in of_lead) <= market.max_offers)
        for institution in np.unique(pairs.institution[of_lead]):
            both = of_lead[pairs.institution[of_lead] == institution]
            model.add(sum(takes[row] for row in both) <= 1)
    for quota, rows in zip(market.quota, rows_of(pairs.product, PRODUCTS), strict=True):
        model.add(sum(takes[row] for row in rows) <= int(quota))
    for limit in limits:
        for upper, rows in zip(limit.upper, rows_of(limit.row, len(limit.upper)), strict=True):
            if not np.isfinite(upper):
                continue
            use = limit.pair_use(rows).astype(int).tolist()
            total = sum(u * takes[r] for u, r in zip(use, rows, strict=True))
            if limit.is_floor and upper < 0:
                missed = model.new_int_var(0, int(-upper), "")
                (missed_money if limit.is_money_floor else missed_leads).append(missed)
                total = total - missed
            model.add(total <= int(upper))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1

    def minimise(missed: list) -> int:
        model.minimize(sum(missed))
        assert solver.solve(model) == cp_model.OPTIMAL
        return round(solver.objective_value)

    least_leads = minimise(missed_leads)
    model.add(sum(missed_leads) <= least_leads)
    least_money = minimise(missed_money)
    allowed = round(100 * float(plan.shortfall.get("floor_fees", np.zeros(1))[0]))
    model.add(sum(missed_money) <= max(allowed, least_money))
    value = np.rint(pairs.value * 10_000).astype(int).tolist()
    model.maximize(sum(each * take for each, take in zip(value, takes, strict=True)))
    assert solver.solve(model) == cp_model.OPTIMAL
    return Optimum(solver.objective_value / 10_000, least_leads, least_money)
