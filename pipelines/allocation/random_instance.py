"""Random allocation problems of a given size, for benchmarks and tests.

All draws are independent unless stated. A lead has a quality (log-normal, sigma 0.4); a product has
a price (log-normal around 20, sigma 0.6), a popularity and a size (log-normal, sigma 0.6 and 0.5).
The candidates of a lead are distinct products drawn by popularity; an institution has two products.

    value  = quality of the lead x price of the product x noise (log-normal, sigma 0.5)
    quotas = 60% of what all leads could take, distributed by size
    spend  = 3 x price x probability of approval (beta 2, 5), for 60% of the products; else none
    budget = 30% to 90% of the mean spend of a full quota
    pacing = at most 30% of a quota from one of 8 channels; the n-th channel brings 1/n of the leads
             of the first

Quotas, budgets and shares all bind somewhere, and value and spend of a lead differ.

The guarantees of a plan are drawn separately, so that they change nothing above:

    approval = logistic(product effect (sigma 0.6) + effect of the pair (sigma 0.8) - 1.2)
    funded   = approval x take-up (uniform 0.3 to 0.9)
    fee      = half of the mean value of the product's pairs x noise (log-normal, sigma 0.5)
    approval rate of a product: at least the mean of its candidates
    cost per funded loan of a product: at most that of its candidates together
    cost per approval, for half of the products: at most 0.9 to 1.2 times that of its candidates
    fees of the plan: at least `FEE_FLOOR` x number of matches under full quotas x mean fee
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.allocation.allocate import Plan
from pipelines.allocation.problem import (
    Limit,
    PairColumns,
    build_budget_limit,
    build_money_floor,
    build_quota_limit,
    build_ratio_limit,
    build_share_limit,
)
from pipelines.core.arrays import FloatArray, IntArray

CHANNELS = 8
CHANNEL_SHARE = 0.3
DEMAND_MET = 0.6
PRICED_BY_RESULT = 0.6
APPROVAL = (2.0, 5.0)
PRODUCTS_PER_INSTITUTION = 2
FEE_FLOOR = 1.05
HAS_AGREED_COST = 0.5


@dataclass(frozen=True)
class Guarantees:
    """What a plan owes to institutions and to the platform."""

    approval: FloatArray
    """Probability of approval of each pair."""
    funded: FloatArray
    """Probability of a funded loan of each pair."""
    fee: FloatArray
    """Expected fee of each pair."""
    approval_rate: FloatArray
    """Least mean probability of approval, by product."""
    cost_per_funded: FloatArray
    """Largest expected fee per funded loan, by product."""
    cost_per_approval: FloatArray
    """Largest expected fee per approval, by product; NaN: unlimited."""
    fees: float
    """Least sum of fees of the plan."""

    def limits(self, product: IntArray) -> tuple[Limit, ...]:
        """Return the ratio rows of the products, and the floor of the fees."""
        minus_one = np.broadcast_to(-1.0, len(product))
        return (
            build_ratio_limit(
                "approval_rate", product, -self.approval, minus_one, self.approval_rate
            ),
            build_ratio_limit(
                "cost_per_funded", product, self.fee, self.funded, self.cost_per_funded
            ),
            build_ratio_limit(
                "cost_per_approval", product, self.fee, self.approval, self.cost_per_approval
            ),
            build_money_floor("fees", self.fee, self.fees),
        )


@dataclass(frozen=True)
class RandomInstance:
    """Pairs of leads and products, and the limits of a plan."""

    candidates: PairColumns
    quota: IntArray
    spend: FloatArray
    budget: FloatArray
    """By product; NaN: none."""
    channel: IntArray
    """Channel of each pair's lead."""
    max_offers: int
    guarantees: Guarantees | None = None

    def limits(self) -> tuple[Limit, ...]:
        """Return budgets, pacing and guarantees."""
        product = self.candidates.product
        pacing = build_share_limit(
            "pacing", product, self.channel, CHANNELS, share=CHANNEL_SHARE, quota=self.quota
        )
        budget = build_budget_limit(product, self.spend, self.budget)
        further = self.guarantees.limits(product) if self.guarantees else ()
        return budget, pacing, *further

    def count_violations(self, plan: Plan, limits: tuple[Limit, ...] = ()) -> int:
        """Return the number of constraints that `plan` violates, counted from its pairs."""
        pairs, rows = self.candidates, np.flatnonzero(plan.chosen)
        offers = np.bincount(pairs.lead[rows])
        institutions = int(pairs.institution.max()) + 1
        at_institution = pairs.lead[rows] * institutions + pairs.institution[rows]
        _, times = np.unique(at_institution, return_counts=True)
        too_many = int((offers > self.max_offers).sum()) + int((times > 1).sum())
        quota = build_quota_limit(pairs.product, self.quota)
        return too_many + sum(limit.count_violations(rows) for limit in (quota, *limits))


def generate_instance(
    leads: int, products: int, candidates: int, seed: int, max_offers: int
) -> RandomInstance:
    """Return the instance of that size and seed; `candidates` is at most `products`."""
    rng = np.random.default_rng(seed)
    product = _draw_products(rng, leads, products, candidates)
    quality, price = rng.lognormal(0, 0.4, leads), rng.lognormal(3, 0.6, products)
    value = quality[:, None] * price[product] * rng.lognormal(0, 0.5, product.shape)
    is_paid = rng.random(products) < PRICED_BY_RESULT
    max_spend = np.where(is_paid, 3 * price, 0.0)
    spend = max_spend[product] * rng.beta(*APPROVAL, product.shape)
    by_channel = 1 / np.arange(1, CHANNELS + 1)
    channel = rng.choice(CHANNELS, leads, p=by_channel / by_channel.sum())
    size = rng.lognormal(0, 0.5, products)
    quota = np.maximum(1, np.rint(DEMAND_MET * max_offers * leads * size / size.sum()))
    mean_spend = max_spend * APPROVAL[0] / sum(APPROVAL)
    budget = np.where(is_paid, quota * mean_spend * rng.uniform(0.3, 0.9, products), np.nan)
    flat = product.reshape(-1)
    return RandomInstance(
        candidates=PairColumns(
            lead=np.repeat(np.arange(leads), candidates),
            institution=flat // PRODUCTS_PER_INSTITUTION,
            product=flat,
            value=value.reshape(-1),
            tie_break_key=rng.integers(0, 2**32, flat.size),
        ),
        quota=quota.astype(np.int64),
        spend=spend.reshape(-1),
        budget=np.asarray(np.round(budget, 2), np.float64),
        channel=np.repeat(channel, candidates),
        max_offers=max_offers,
    )


def add_guarantees(
    instance: RandomInstance, seed: int, fee_floor: float = FEE_FLOOR
) -> RandomInstance:
    """Return the instance with guarantees; `fee_floor` is the share of a full plan's mean fees."""
    rng = np.random.default_rng([seed, 2])
    product, products = instance.candidates.product, len(instance.quota)
    effect = rng.normal(0, 0.6, products)[product] + rng.normal(0, 0.8, len(product))
    approval = 1 / (1 + np.exp(1.2 - effect))
    funded = approval * rng.uniform(0.3, 0.9, len(product))
    number = np.maximum(np.bincount(product, minlength=products), 1)

    def average(amount: FloatArray) -> FloatArray:
        total = np.bincount(product, weights=amount, minlength=products)
        return np.asarray(total / number, np.float64)

    half_value = average(instance.candidates.value)[product] / 2
    fee = half_value * rng.lognormal(0, 0.5, len(product))
    mean_fee, mean_approval = average(fee), average(approval)
    per_funded = mean_fee / np.maximum(average(funded), 1e-9)
    per_approval = mean_fee / np.maximum(mean_approval, 1e-9) * rng.uniform(0.9, 1.2, products)
    return replace(
        instance,
        guarantees=Guarantees(
            approval=approval,
            funded=funded,
            fee=fee,
            approval_rate=mean_approval,
            cost_per_funded=per_funded,
            cost_per_approval=np.where(
                rng.random(products) < HAS_AGREED_COST, per_approval, np.nan
            ),
            fees=round(fee_floor * float((instance.quota * mean_fee).sum()), 2),
        ),
    )


def generate_next_day(instance: RandomInstance, changed: float, seed: int) -> RandomInstance:
    """Return the instance with the share `changed` of its leads replaced by similar leads."""
    rng = np.random.default_rng(seed)
    pairs = instance.candidates
    is_new = (rng.random(int(pairs.lead.max(initial=-1)) + 1) < changed)[pairs.lead]
    other = rng.permutation(np.flatnonzero(is_new))
    value = pairs.value.copy()
    value[is_new] *= rng.lognormal(0, 0.5, len(other)) / np.exp(0.5**2 / 2)
    spend = instance.spend.copy()
    spend[is_new] *= rng.uniform(0.5, 1.5, len(other))
    return replace(instance, candidates=replace(pairs, value=value), spend=spend)


def _draw_products(
    rng: np.random.Generator, leads: int, products: int, candidates: int
) -> IntArray:
    """Return `candidates` distinct products for each lead, by popularity, in rising order."""
    popularity = np.cumsum(rng.lognormal(0, 0.6, products))
    drawn = rng.random((leads, candidates)) * popularity[-1]
    product = np.searchsorted(popularity, drawn).clip(max=products - 1)
    product.sort(axis=1)
    while True:
        is_repeated = np.zeros(product.shape, np.bool_)
        is_repeated[:, 1:] = product[:, 1:] == product[:, :-1]
        if not is_repeated.any():
            return np.asarray(product, np.int64)
        product[is_repeated] = rng.integers(0, products, int(is_repeated.sum()))
        product.sort(axis=1)
