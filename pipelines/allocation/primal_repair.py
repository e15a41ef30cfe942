"""Make the leads' choices feasible, and improve the plan by moves of single leads and exchanges.

At good prices the choices violate few rows, and by little.

1. For each row that is violated, drop the pairs of positive use and smallest reduced cost by unit
   of use until it holds. A dropped pair may have a negative use in another row: repeat until all
   rows hold.
2. In rounds, until no move gains: each lead proposes a move (a pair that enters, alone or in place
   of one of the lead's pairs) that gains value. Each row accepts the proposals that fit into its
   remaining capacity, the best first. The best are at first the ones of greatest surplus, which
   use least of the capacity's price, then the ones of greatest gain.
3. The same with exchanges between two leads (`exchanges`).
"""

import numpy as np

from pipelines.allocation.exchanges import propose_exchanges, take_first_by_code
from pipelines.allocation.moves import (
    Moves,
    RestrictedProblem,
    accept_moves,
    find_displaced,
    reduce_shortfall,
    select_gains,
    sum_within_row,
)
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

MAX_ROUNDS = 200
MAX_EXCHANGES = 60
"""Rounds of exchanges."""
ROUND_PROGRESS = 3e-7
"""Moves of single leads end when a round gains less than this share of the plan's value."""
EXCHANGE_PROGRESS = 3e-6
"""Exchanges end when a round gains less than this share of the plan's value."""
MONEY_PRICE_FACTORS = (1.0, 1.1, 1.5, 4.0, 20.0, 100.0, 1000.0)
"""Prices of money, as multiples of the dual's, until no floor in money is missed."""
CORE_WIDTH = 96
"""Exchanges are between the leads of this many pairs of each product."""


def repair(problem: RestrictedProblem, chosen: BoolArray) -> BoolArray:
    """Return a feasible plan near `chosen`, the leads' choices, that no single move improves."""
    return improve(problem, _drop_excess(problem, chosen))


def _drop_excess(problem: RestrictedProblem, chosen: BoolArray) -> BoolArray:
    """Return `chosen` without the pairs of smallest reduced cost that exceed a row."""
    feasible = chosen.copy()
    caps = [limit for limit in problem.limits if not limit.is_floor]
    has_dropped = True
    while has_dropped:
        has_dropped = False
        for limit in caps:
            rows = np.flatnonzero(feasible)
            row, use = limit.row[rows], limit.pair_use(rows)
            rank = np.where(use > 0, -problem.reduced_cost[rows] / np.maximum(use, 1), -np.inf)
            order = np.lexsort((problem.tie_break_key[rows], rank, row))
            upper = np.append(limit.upper, np.inf)[row[order]]
            fits = (sum_within_row(row[order], use[order]) <= upper) | (use[order] <= 0)
            feasible[rows[order[~fits]]] = False
            has_dropped |= not fits.all()
        has_dropped &= any(limit.least_use().any() for limit in caps)
    return feasible


def improve(problem: RestrictedProblem, chosen: BoolArray) -> BoolArray:
    """Return the plan after moves of single leads and exchanges, until none gains; never a worse.

    The last moves gain value alone; the moves before them gain value and money at its price.
    """
    plan = chosen.copy()
    for factor in MONEY_PRICE_FACTORS:
        _improve_at_money_prices(problem.scale_money_prices(factor), plan)
        if not problem.misses_money(plan):
            break
    if any(problem.money_prices) or problem.misses_money(chosen):
        _improve_at_money_prices(problem.scale_money_prices(0.0), plan)
    return max(plan, chosen, key=problem.rank)


def _improve_at_money_prices(problem: RestrictedProblem, plan: BoolArray) -> None:
    """Improve value + price x money."""
    _improve_single_leads(problem, plan)
    core = _find_core(problem)
    core_problem, core_plan = problem.restrict(core, plan), plan[core]
    least_gain = EXCHANGE_PROGRESS * float(problem.value[plan].sum())
    for _ in range(MAX_EXCHANGES):
        slacks = core_problem.compute_padded_slack(core_plan)
        exchanges = propose_exchanges(core_problem, core_plan, slacks)
        accepted = accept_moves(core_problem, slacks, exchanges)
        accepted.apply(core_plan)
        if not accepted.gain.sum() > least_gain:
            break
        _improve_single_leads(core_problem, core_plan)
    plan[core] = core_plan


def _find_core(problem: RestrictedProblem) -> IntArray:
    """Return all pairs of the leads that have one of the pairs nearest to turning of a product."""
    distance = np.abs(problem.reduced_cost)
    nearest = take_first_by_code(problem.limits[0].row, distance, problem.tie_break_key, CORE_WIDTH)
    is_core = np.zeros(int(problem.lead.max(initial=-1)) + 1, np.bool_)
    is_core[problem.lead[nearest]] = True
    return np.flatnonzero(is_core[problem.lead])


def _improve_single_leads(problem: RestrictedProblem, plan: BoolArray) -> None:
    least_gain = ROUND_PROGRESS * float(problem.value[plan].sum())
    for by_surplus in (True, False):
        for _ in range(MAX_ROUNDS):
            slacks = problem.compute_padded_slack(plan)
            moves = _propose_moves(problem, plan, slacks, by_surplus=by_surplus)
            accepted = accept_moves(problem, slacks, moves)
            accepted.apply(plan)
            if not accepted.gain.sum() > least_gain:
                break


def _propose_moves(
    problem: RestrictedProblem, plan: BoolArray, slacks: list[FloatArray], *, by_surplus: bool
) -> Moves:
    """Return the best feasible move of each lead that has one, the best first.

    With `by_surplus` the best is the one of greatest surplus, else of greatest gain.
    """
    value_out = problem.value.copy()
    can_enter, is_needed = ~plan, np.zeros(len(plan), np.bool_)
    for limit, slack, penalty in zip(problem.limits, slacks, problem.penalties, strict=True):
        pair_slack = slack[limit.row]
        if limit.use is None:
            can_enter &= pair_slack >= 1
        elif limit.is_money_floor:
            continue
        elif limit.is_floor:
            value_out -= penalty * reduce_shortfall(pair_slack, -limit.use)
        else:
            can_enter &= (limit.use <= pair_slack) | (limit.use <= 0)
            is_needed |= (limit.use < 0) & (limit.use + pair_slack < 0)
    enters = np.flatnonzero(can_enter)
    cost_out = np.where(is_needed, np.inf, problem.surplus if by_surplus else value_out)
    leaves, _ = find_displaced(problem, np.flatnonzero(plan), cost_out, enters)
    candidates = Moves(np.column_stack([enters, leaves]), (1, -1), np.zeros(len(enters)))
    moves = select_gains(problem, slacks, candidates)
    rank = -(moves.add_up(problem.surplus) if by_surplus else moves.gain)
    enters = moves.pairs[:, 0]
    return moves.take(np.lexsort((problem.tie_break_key[enters], rank)))
