"""Random allocation problems of a stated size, for benchmarks and tests.

What is drawn, independently unless said: a lead's quality (log-normal, sigma 0.4), a product's
price (log-normal around 20, sigma 0.6), its popularity and size (log-normal, sigma 0.6 and 0.5). A
lead's candidates are distinct products drawn by popularity; two products belong to an institution.

    value  = quality of the lead x price of the product x noise (log-normal, sigma 0.5)
    quotas = 60% of what all leads could take, spread by size
    spend  = 3 x price x chance of approval (beta 2, 5), for 60% of the products; else none
    budget = 30% to 90% of the mean spend of a full quota
    pacing = at most 30% of a quota from one of 8 channels, of which the n-th brings 1/n as much as
             the first

So quotas, budgets and shares all bind somewhere, and a lead's value and spend disagree.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.matches.candidates import Candidates, Integers, Numbers
from pipelines.matches.constraints import Limit, budgets, shares

CHANNELS = 8
SHARE = 0.3
DEMAND_MET = 0.6
PAID_BY_RESULT = 0.6
APPROVAL = (2.0, 5.0)
PRODUCTS_OF_AN_INSTITUTION = 2


@dataclass(frozen=True)
class Instance:
    """Pairs and what binds them."""

    candidates: Candidates
    quota: Integers
    spend: Numbers
    budget: Numbers
    """By product; NaN: none."""
    channel: Integers
    """Of the lead of each pair."""
    most_offers: int

    def limits(self) -> tuple[Limit, ...]:
        """Return budgets and pacing."""
        product = self.candidates.product
        pacing = shares("pacing", product, self.channel, CHANNELS, share=SHARE, quota=self.quota)
        return budgets(product, self.spend, self.budget), pacing


def drawn(leads: int, products: int, candidates: int, seed: int, most_offers: int) -> Instance:
    """Return the instance of that size and seed; `candidates` at most `products`."""
    rng = np.random.default_rng(seed)
    product = _distinct(rng, leads, products, candidates)
    quality, price = rng.lognormal(0, 0.4, leads), rng.lognormal(3, 0.6, products)
    value = quality[:, None] * price[product] * rng.lognormal(0, 0.5, product.shape)
    is_paid = rng.random(products) < PAID_BY_RESULT
    most_spend = np.where(is_paid, 3 * price, 0.0)
    spend = most_spend[product] * rng.beta(*APPROVAL, product.shape)
    by_channel = 1 / np.arange(1, CHANNELS + 1)
    channel = rng.choice(CHANNELS, leads, p=by_channel / by_channel.sum())
    size = rng.lognormal(0, 0.5, products)
    quota = np.maximum(1, np.rint(DEMAND_MET * most_offers * leads * size / size.sum()))
    mean_spend = most_spend * APPROVAL[0] / sum(APPROVAL)
    budget = np.where(is_paid, quota * mean_spend * rng.uniform(0.3, 0.9, products), np.nan)
    flat = product.reshape(-1)
    return Instance(
        candidates=Candidates(
            lead=np.repeat(np.arange(leads), candidates),
            institution=flat // PRODUCTS_OF_AN_INSTITUTION,
            product=flat,
            value=value.reshape(-1),
            lottery=rng.integers(0, 2**32, flat.size),
        ),
        quota=quota.astype(np.int64),
        spend=spend.reshape(-1),
        budget=np.asarray(np.round(budget, 2), np.float64),
        channel=np.repeat(channel, candidates),
        most_offers=most_offers,
    )


def next_day(instance: Instance, changed: float, seed: int) -> Instance:
    """Return the instance after that share of the leads was replaced by others of their kind."""
    rng = np.random.default_rng(seed)
    pairs = instance.candidates
    is_new = (rng.random(int(pairs.lead.max(initial=-1)) + 1) < changed)[pairs.lead]
    other = rng.permutation(np.flatnonzero(is_new))
    value = pairs.value.copy()
    value[is_new] *= rng.lognormal(0, 0.5, len(other)) / np.exp(0.5**2 / 2)
    spend = instance.spend.copy()
    spend[is_new] *= rng.uniform(0.5, 1.5, len(other))
    return replace(instance, candidates=replace(pairs, value=value), spend=spend)


def _distinct(
    rng: np.random.Generator, leads: int, products: int, candidates: int
) -> NDArray[np.int64]:
    """Return `candidates` distinct products for each lead, by popularity, in rising order."""
    popularity = np.cumsum(rng.lognormal(0, 0.6, products))
    drawn_at = rng.random((leads, candidates)) * popularity[-1]
    product = np.searchsorted(popularity, drawn_at).clip(max=products - 1)
    product.sort(axis=1)
    while True:
        again = np.zeros(product.shape, np.bool_)
        again[:, 1:] = product[:, 1:] == product[:, :-1]
        if not again.any():
            return np.asarray(product, np.int64)
        product[again] = rng.integers(0, products, int(again.sum()))
        product.sort(axis=1)
