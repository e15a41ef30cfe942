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
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.allocation.allocate import Plan
from pipelines.allocation.problem import (
    Limit,
    PairColumns,
    build_budget_limit,
    build_quota_limit,
    build_share_limit,
)
from pipelines.core.arrays import FloatArray, IntArray

CHANNELS = 8
CHANNEL_SHARE = 0.3
DEMAND_MET = 0.6
PRICED_BY_RESULT = 0.6
APPROVAL = (2.0, 5.0)
PRODUCTS_PER_INSTITUTION = 2


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

    def limits(self) -> tuple[Limit, ...]:
        """Return budgets and pacing."""
        product = self.candidates.product
        pacing = build_share_limit(
            "pacing", product, self.channel, CHANNELS, share=CHANNEL_SHARE, quota=self.quota
        )
        return build_budget_limit(product, self.spend, self.budget), pacing

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
