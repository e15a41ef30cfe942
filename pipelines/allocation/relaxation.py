"""One search of the Lagrangian relaxation: prices, the leads' choices, repair and polish."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.allocation.dual_ascent import DualSolution, StoppingRule, minimise_dual
from pipelines.allocation.lead_subproblem import LeadSubproblems, split_at_leads
from pipelines.allocation.mip_polish import polish, solve_linear_relaxation
from pipelines.allocation.moves import RestrictedProblem
from pipelines.allocation.primal_repair import improve, repair
from pipelines.allocation.problem import Limit, PairColumns, find_possible_pairs
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

SMALL = 3_000
"""Up to this many pairs, prices start at the linear program's and all pairs are polished."""
TARGET_GAP = 1e-3
"""A plan with a smaller gap is not polished."""
POLISH_EFFORT = 0.5
"""Deterministic time of the integer solver; some seconds at most."""
MAX_POLISHED = 1_000
"""Most pairs that are polished: the pairs with the smallest absolute reduced cost."""
REACH = 0.5
"""The repair uses pairs whose reduced cost is above minus this share of a typical value."""
TIE_BREAK_UNIT = 2.0**-33
"""Value of one unit of tie-break key: pairs of equal value differ, by less than half a unit."""
LP_CORE = 40_000
"""Up to this many pairs within reach, prices are refined by their linear program."""
SAMPLE_FROM = 500_000
"""Number of pairs from which prices are first estimated from a sample of the leads."""
SAMPLE_SHARE = 0.1
"""Share of the leads in the sample."""
COLUMNS_FROM = 2_000_000
"""Number of pairs from which prices are searched over some of the columns (pairs)."""
MAX_PRICINGS = 4
"""All pairs are priced at most so many times in one search."""
PRICING_TOLERANCE = 1e-4
"""Columns are complete when all pairs raise their bound by less than this share."""
PRICED_PAIRS = 1 << 21
"""Pairs that are priced together: bounds the memory, never changes the result."""
KEY_RANGE = 2**32
LONGEST_CHAIN = 12
"""A missing lead costs this many times the greatest value: more than any chain of moves."""
MONEY_PENALTY = 100.0
"""Missing money costs this many times the mean value of a pair by unit of money."""
RATIO_PRICE = 1 / 3
"""Prices of ratio rows are smaller than a typical value over a typical use: most of the uses are of
pairs that no plan considers."""


@dataclass(frozen=True)
class SolverOptions:
    """Division of the work, which leaves the result unchanged, and the stopping rule."""

    parts: int = 1
    threads: int = 1
    stop: StoppingRule = field(default_factory=StoppingRule)


def choose_penalties(limits: Sequence[Limit], value: FloatArray) -> list[float]:
    """Return the value of one unit of shortfall by limit; 0 for a limit that always holds.

    A lead that a floor misses costs more than any value and any money that a chain of moves brings.
    """
    every_pair = np.arange(len(value))
    total, greatest = float(value.sum()), float(value.max(initial=0))
    penalties = [0.0] * len(limits)
    for index, limit in enumerate(limits):
        if limit.is_money_floor:
            money = np.abs(limit.pair_use(every_pair))
            penalties[index] = MONEY_PENALTY * total / max(float(money.sum()), 1.0)
            greatest += penalties[index] * float(money.max(initial=0))
    return [
        LONGEST_CHAIN * greatest if limit.is_floor and not limit.is_money_floor else penalty
        for limit, penalty in zip(limits, penalties, strict=True)
    ]


def split_by_limit(prices: FloatArray, limits: Sequence[Limit]) -> list[FloatArray]:
    """Return the prices of each limit."""
    return np.split(prices, np.cumsum([len(limit.upper) for limit in limits])[:-1])


@dataclass(frozen=True)
class Incumbent:
    """The best plan of one search."""

    chosen: BoolArray
    dual: DualSolution
    missed_leads: int
    """Total shortfall of the floors in leads."""


class Relaxation:
    """Pairs and limits of a day, without the pairs whose own use exceeds a row.

    Args:
        pairs: The pairs, by lead, institution and product.
        limits: The limits.
        max_offers: Most pairs of one lead.
        options: Division of the work, and the stopping rule.
    """

    def __init__(
        self,
        pairs: PairColumns,
        limits: tuple[Limit, ...],
        max_offers: int,
        options: SolverOptions,
    ) -> None:
        self.limits = limits
        self._pairs, self._max_offers, self._options = pairs, max_offers, options
        self._group = pairs.lead_institution
        self.possible = np.flatnonzero(find_possible_pairs(len(pairs.lead), limits))
        upper = np.concatenate([limit.upper for limit in limits])
        self._is_limited = np.isfinite(upper)
        self._upper = np.where(self._is_limited, upper, 0)

    def solve(
        self,
        value: FloatArray,
        penalties: Sequence[float],
        start: Mapping[str, FloatArray],
        floor_plan: BoolArray | None = None,
    ) -> Incumbent:
        """Return the best plan found.

        Args:
            value: Value of each pair, in integer units.
            penalties: Value of one unit of shortfall, by limit; 0 for a limit that always holds.
            start: Limit -> start prices.
            floor_plan: A plan from which a second local search starts. Floors in money that it
                attains are known to be feasible, so their price has no upper limit.
        """
        rows = self.possible
        exact_value = value + self._pairs.tie_break_key * TIE_BREAK_UNIT
        caps = self._find_highest_prices(penalties, floor_plan)
        typical = _find_typical_value(exact_value[rows], penalties)
        is_small = len(rows) <= SMALL
        begin = self._find_start(start)
        if is_small and len(rows):
            relaxed = solve_linear_relaxation(self._restrict(rows, exact_value, penalties))
            begin = begin if relaxed is None else np.concatenate(relaxed.prices)
        scale = self._find_typical_prices(typical)
        if len(rows) >= SAMPLE_FROM and not begin.any():
            sample = self._draw_sample(rows)
            sampled = self._build_subproblems(exact_value, sample)
            share = len(sample) / len(rows)
            begin = self._search_prices(sampled, begin, caps, scale, share).prices
        reach = np.inf if is_small else REACH * typical
        if len(rows) >= COLUMNS_FROM:
            dual, near, reduced_cost = self._generate_columns(
                exact_value, begin, caps, scale, reach
            )
        else:
            leads = self._build_subproblems(exact_value, rows)
            dual = self._search_prices(leads, begin, caps, scale)
            near, reduced_cost = leads.find_near_choice(self._split(dual.prices), reach)
            if not is_small and len(near) <= LP_CORE:
                core = self._restrict(near, exact_value, penalties)
                dual = self._refine_prices(leads, core, dual, caps)
                near, reduced_cost = leads.find_near_choice(self._split(dual.prices), reach)
            del leads
        if is_small:  # also the pairs that have a better one at their institution
            near, reduced_cost = _add_pairs(near, reduced_cost, rows)
        if floor_plan is not None:
            near, reduced_cost = _add_pairs(near, reduced_cost, np.flatnonzero(floor_plan))
        restricted = self._restrict(near, exact_value, penalties).at_prices(
            self._split(dual.prices), reduced_cost
        )
        plan = repair(restricted, reduced_cost > 0)
        if floor_plan is not None:
            plan = max(improve(restricted, floor_plan[near]), plan, key=restricted.rank)
        target = dual.bound * (1 - TARGET_GAP)
        if is_small or restricted.compute_objective(plan) < target:
            free = _select_free(restricted)
            plan = improve(restricted, polish(restricted, plan, free, effort=POLISH_EFFORT))
        chosen = np.zeros(len(value), np.bool_)
        chosen[near[plan]] = True
        missed = sum(
            int(limit.shortfall(np.flatnonzero(chosen)).sum())
            for limit in self.limits
            if limit.is_floor and not limit.is_money_floor
        )
        return Incumbent(chosen, dual, missed)

    def search_prices(self, value: FloatArray) -> list[FloatArray]:
        """Return prices near the lowest dual bound, by limit, without a plan.

        Args:
            value: Value of each pair, in integer units.
        """
        rows, no_prices = self.possible, np.zeros(len(self._upper))
        scale = self._find_typical_prices(_find_typical_value(value[rows], [0.0]))
        leads = self._build_subproblems(value, rows)
        caps = np.full(len(no_prices), np.inf)
        return self._split(self._search_prices(leads, no_prices, caps, scale).prices)

    def price_all_pairs(
        self,
        value: FloatArray,
        prices: Sequence[FloatArray],
        penalties: Sequence[float],
    ) -> RestrictedProblem:
        """Return all pairs with their reduced costs at `prices`."""
        leads = self._build_subproblems(value, self.possible)
        near, reduced_cost = leads.find_near_choice(prices, np.inf)
        near, reduced_cost = _add_pairs(near, reduced_cost, self.possible)
        return self._restrict(near, value, penalties).at_prices(prices, reduced_cost)

    def _find_highest_prices(
        self, penalties: Sequence[float], floor_plan: BoolArray | None
    ) -> FloatArray:
        """Return the highest price of each row."""
        caps = []
        for limit, penalty in zip(self.limits, penalties, strict=True):
            is_attained = (
                floor_plan is not None
                and limit.is_money_floor
                and limit.is_satisfied(np.flatnonzero(floor_plan))
            )
            caps.append(penalty if limit.is_floor and not is_attained else np.inf)
        return np.repeat(caps, [len(limit.upper) for limit in self.limits])

    def _find_start(self, start: Mapping[str, FloatArray]) -> FloatArray:
        prices = [
            start[limit.name] / limit.units
            if limit.name in start and len(start[limit.name]) == len(limit.upper)
            else np.zeros(len(limit.upper))
            for limit in self.limits
        ]
        return np.concatenate(prices)

    def _find_typical_prices(self, value: float) -> FloatArray:
        """Return a typical price of each row, the unit of the search: a typical value over the
        limit's typical use.

        D curves by the sum of squared uses of a row. A floor over all pairs has a unit smaller by
        the root of the number of rows that it spans.
        """
        rows, prices = self.possible, []
        for limit in self.limits:
            count = len(limit.upper)
            use = np.abs(limit.pair_use(rows))
            if np.ndim(limit.units):  # a ratio: integer units differ by row
                squares = np.bincount(limit.row[rows], weights=use * use, minlength=count + 1)
                number = np.bincount(limit.row[rows], minlength=count + 1)
                typical = np.sqrt(squares / np.maximum(number, 1))[:count]
                prices.append(RATIO_PRICE * value / np.maximum(typical, 1.0))
                continue
            use = use[use > 0]
            price = value / (float(np.median(use)) if len(use) else 1.0)
            if limit.is_money_floor:
                price /= math.sqrt(max(1, len(self.limits[0].upper)))
            prices.append(np.full(count, price))
        return np.concatenate(prices)

    def _build_subproblems(self, value: FloatArray, rows: IntArray) -> LeadSubproblems:
        return LeadSubproblems(
            self._pairs.lead,
            self._group,
            value,
            self.limits,
            rows=rows,
            max_offers=self._max_offers,
            parts=self._options.parts,
            threads=self._options.threads,
        )

    def _restrict(
        self, rows: IntArray, value: FloatArray, penalties: Sequence[float]
    ) -> RestrictedProblem:
        return RestrictedProblem(
            lead=self._pairs.lead[rows],
            group=self._group[rows],
            value=value[rows],
            surplus=value[rows],
            reduced_cost=np.zeros(len(rows)),
            tie_break_key=self._pairs.tie_break_key[rows],
            limits=tuple(limit.take(rows) for limit in self.limits),
            max_offers=self._max_offers,
            penalties=tuple(penalties),
            money_prices=(0.0,) * len(penalties),
        )

    def _draw_sample(self, rows: IntArray) -> IntArray:
        """Return the pairs of a sample of leads, drawn by their tie-break keys."""
        lead = self._pairs.lead[rows]
        first = np.flatnonzero(np.diff(lead, prepend=-1))
        key = np.add.reduceat(self._pairs.tie_break_key[rows], first) % KEY_RANGE
        number = np.diff(first, append=len(rows))
        return rows[np.repeat(key < SAMPLE_SHARE * KEY_RANGE, number)]

    def _search_prices(
        self,
        leads: LeadSubproblems,
        begin: FloatArray,
        caps: FloatArray,
        scale: FloatArray,
        share: float = 1.0,
    ) -> DualSolution:
        """Return the prices with the lowest dual bound, for `share` of the upper limits."""

        def dual(prices: FloatArray) -> tuple[float, FloatArray]:
            return self._evaluate(leads, prices, share)

        begin = np.where(self._is_limited, begin, 0)
        return minimise_dual(dual, begin, caps, scale, self._options.stop)

    def _generate_columns(
        self,
        value: FloatArray,
        begin: FloatArray,
        caps: FloatArray,
        scale: FloatArray,
        reach: float,
    ) -> tuple[DualSolution, IntArray, FloatArray]:
        """Return the prices, and the pairs near the leads' choices at them with reduced costs.

        Column generation (Desaulniers, Desrosiers and Solomon 2005): prices are searched over the
        pairs near the leads' choices, all pairs are priced at what was found, and the ones that
        have come near are added, until the bound over all pairs is the one over the columns.
        """
        begin = np.clip(np.where(self._is_limited, begin, 0), 0, caps)  # else D is no bound
        near, reduced_cost, bound = self._price_pairs(value, begin, reach)
        best = DualSolution(begin, bound, 1), near, reduced_cost
        columns, evaluations = near, 1
        for _ in range(MAX_PRICINGS):
            leads = self._build_subproblems(value, columns)
            found = self._search_prices(leads, begin, caps, scale)
            del leads
            near, reduced_cost, bound = self._price_pairs(value, found.prices, reach)
            evaluations += found.evaluations + 1
            if bound < best[0].bound:
                best = DualSolution(found.prices, bound, evaluations), near, reduced_cost
            if bound - found.bound <= PRICING_TOLERANCE * abs(bound):
                break
            columns, begin = _unite(columns, near, value.size), found.prices
        return best

    def _price_pairs(
        self, value: FloatArray, prices: FloatArray, reach: float
    ) -> tuple[IntArray, FloatArray, float]:
        """Return the pairs near the leads' choices at `prices`, their reduced costs, and D."""
        surplus, pairs, reduced_costs = 0, [], []
        split = self._split(prices)
        for rows in split_at_leads(self._pairs.lead, self.possible, PRICED_PAIRS):
            leads = self._build_subproblems(value, rows)
            surplus += leads.solve(split).surplus
            near, reduced_cost = leads.find_near_choice(split, reach)
            pairs.append(near)
            reduced_costs.append(reduced_cost)
        bound = surplus + math.fsum((self._upper * prices).tolist())
        return np.concatenate(pairs), np.concatenate(reduced_costs), bound

    def _refine_prices(
        self,
        leads: LeadSubproblems,
        core: RestrictedProblem,
        dual: DualSolution,
        caps: FloatArray,
    ) -> DualSolution:
        """Return the prices of the linear program over the core if their bound is lower."""
        relaxed = solve_linear_relaxation(core)
        if relaxed is None:
            return dual
        prices = np.minimum(np.where(self._is_limited, np.concatenate(relaxed.prices), 0), caps)
        bound, _ = self._evaluate(leads, prices)
        return DualSolution(prices, bound, dual.evaluations + 1) if bound < dual.bound else dual

    def _evaluate(
        self, leads: LeadSubproblems, prices: FloatArray, share: float = 1.0
    ) -> tuple[float, FloatArray]:
        """Return D and its subgradient at `prices`, for `share` of the upper limits."""
        upper = self._upper * share
        demand = leads.solve(self._split(prices))
        bound = demand.surplus + math.fsum((upper * prices).tolist())
        subgradient = upper - np.concatenate(demand.use)
        return bound, np.where(self._is_limited, subgradient, 0)

    def _split(self, prices: FloatArray) -> list[FloatArray]:
        return split_by_limit(prices, self.limits)


def _unite(first: IntArray, second: IntArray, size: int) -> IntArray:
    """Return the rows below `size` that are in either, in order."""
    is_in = np.zeros(size, np.bool_)
    is_in[first] = is_in[second] = True
    return np.flatnonzero(is_in)


def _find_typical_value(value: FloatArray, penalties: Sequence[float]) -> float:
    """Return the median value of a pair, or a penalty where pairs have no value."""
    typical = float(np.median(value)) if len(value) else 1.0
    return typical if typical > 1 else max(penalties) or 1.0


def _add_pairs(
    near: IntArray, reduced_cost: FloatArray, further: IntArray
) -> tuple[IntArray, FloatArray]:
    """Return the pairs with `further` ones, whose reduced cost is out of reach, in rising order."""
    further = np.setdiff1d(further, near, assume_unique=True)
    rows = np.concatenate([near, further])
    order = np.argsort(rows)
    costs = np.concatenate([reduced_cost, np.full(len(further), -np.inf)])
    return rows[order], costs[order]


def _select_free(problem: RestrictedProblem) -> IntArray:
    """Return the pairs of smallest absolute reduced cost; all where there are few."""
    if len(problem.lead) <= SMALL:
        return np.arange(len(problem.lead))
    nearest = np.lexsort((problem.tie_break_key, np.abs(problem.reduced_cost)))
    return nearest[:MAX_POLISHED]
