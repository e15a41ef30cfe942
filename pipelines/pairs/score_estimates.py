"""Estimate the scores of every pair of a large day from few scored ones.

Most trees of the models are curves of one column, so the log-odds of a pair are nearly a sum of its
lead's part and its product's part, and products of one group (segment and currency) rank leads in
nearly one way. So each lead is scored at a few reference products of its group, and its log-odds
at product j are interpolated from these (a column decomposition of the matrix of leads and
products, Mahoney and Drineas 2009):

    y_j = mean of its log-odds at the references + c_j + sum over references r of w_jr (x_r - m_r)

with m_r the mean of reference r. The coefficients are fitted by ridge regression on a sample of
leads with every product of their group scored; without a sample they are 0. The references are the
columns that explain the others best (QR with column pivoting).
"""

from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa
from scipy.linalg import qr

from models.model_set import ModelSet
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import logit, sigmoid
from pipelines.pairs.eligibility.engine import make_pair_table
from pipelines.pairs.scoring import PAIRS_PER_BATCH, load_pair_features

OUTPUTS = ("p_approve", "p_fund")
REFERENCES = 2
"""Reference products of a group. With one, a score is a lead's part and a product's part."""
PER_LEAD = len(OUTPUTS) * (1 + REFERENCES)
"""Numbers that are known of each lead."""
FITTED_PAIRS = 200_000
"""About how many pairs of each group the coefficients are fitted on."""
RIDGE = 1.0
"""Penalty on the coefficients, in leads."""
LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1."""
DIGITS = 6
"""Coefficients are rounded, so that another order of a sum gives the same pairs."""


@dataclass(frozen=True)
class ScoreEstimates:
    """The log-odds of each lead at its references, and the coefficients of each product."""

    references: FloatArray
    """A lead's log-odds at its references, less the mean of the sample: output, reference, lead."""
    lead_part: FloatArray
    """Mean of a lead's log-odds at its references: output, lead."""
    product_part: FloatArray
    """The constant of each product: output, product."""
    weights: FloatArray
    """The weights of each product: output, reference, product."""

    def pack_leads(self, first: int, last: int) -> pa.Array:
        """Return what is known of the leads from `first` to `last` - 1, one list a lead."""
        known = np.concatenate([self.lead_part[:, None], self.references], axis=1)
        lists = known[:, :, first:last].reshape(PER_LEAD, last - first).T
        return pa.FixedSizeListArray.from_arrays(pa.array(lists.ravel()), PER_LEAD)

    def with_leads(self, packed: pa.ChunkedArray) -> "ScoreEstimates":
        """Return these coefficients with the leads of `pack_leads`, counted from 0."""
        lists = packed.combine_chunks().flatten().to_numpy().reshape(len(packed), PER_LEAD).T
        known = lists.reshape(len(OUTPUTS), 1 + REFERENCES, len(packed))
        return replace(self, lead_part=known[:, 0], references=known[:, 1:])

    def estimate(self, lead: IntArray, product: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return `p_approve` and `p_fund` of the pairs of these leads and products."""
        approve, fund = (sigmoid(self.estimate_log_odds(name, lead, product)) for name in OUTPUTS)
        return approve, fund

    def estimate_log_odds(self, name: str, lead: IntArray, product: IntArray) -> FloatArray:
        """Return the log-odds of an output, `p_approve` or `p_fund`, of these pairs."""
        output = OUTPUTS.index(name)
        log_odds = self.lead_part[output][lead] + self.product_part[output][product]
        for deviation, weight in zip(self.references[output], self.weights[output], strict=True):
            log_odds += weight[product] * deviation[lead]
        return np.asarray(log_odds)


def estimate_scores(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, sampled: IntArray
) -> ScoreEstimates:
    """Fit the estimates.

    Args:
        connection: With `leads` (with `pd`) and `products`.
        model_set: Models of the day.
        sampled: Rows of random leads, on which the coefficients are fitted.
    """
    lead_group, product_group = _load_groups(connection)
    outputs = len(OUTPUTS)
    estimates = ScoreEstimates(
        references=np.zeros((outputs, REFERENCES, lead_group.size)),
        lead_part=np.zeros((outputs, lead_group.size)),
        product_part=np.zeros((outputs, product_group.size)),
        weights=np.zeros((outputs, REFERENCES, product_group.size)),
    )
    for group in np.unique(product_group):
        products = np.flatnonzero(product_group == group)
        leads = np.flatnonzero(lead_group == group)
        fitted = np.sort(sampled[lead_group[sampled] == group][: FITTED_PAIRS // products.size])
        if leads.size:
            every = _score_all(connection, model_set, fitted, products)
            chosen = choose_references(every)
            at_references = _score_all(connection, model_set, leads, products[chosen])
            _fit_group(estimates, leads, products, every, every[:, :, chosen], at_references)
    return estimates


def _load_groups(connection: duckdb.DuckDBPyConnection) -> tuple[IntArray, IntArray]:
    """Return the group of each lead and of each product; -1: a lead without any product."""
    numbered = """
        select segment, currency, row_number() over (order by segment, currency) - 1 as number
        from (select distinct segment, currency from products)
    """
    by_lead, by_product = (
        connection.sql(
            f"""
            select coalesce(groups.number, -1) as number
            from {table}
            left join ({numbered}) as groups using (segment, currency)
            order by {row}
            """
        ).fetchnumpy()["number"]
        for table, row in (("leads", "lead_row"), ("products", "product_row"))
    )
    return np.asarray(by_lead, np.int64), np.asarray(by_product, np.int64)


def _score_all(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    leads: IntArray,
    products: IntArray,
) -> FloatArray:
    """Return the log-odds of these leads at each of these products: output, lead, product.

    Args:
        connection: With `leads` (with `pd`) and `products`.
        model_set: Models of the day.
        leads: Rows of leads, in rising order.
        products: Rows of products, in any order.
    """
    log_odds = np.empty((len(OUTPUTS), leads.size, products.size))
    step = max(1, PAIRS_PER_BATCH // products.size)
    order = np.argsort(np.argsort(products))  # features come in the order of the product's row
    for first in range(0, leads.size, step):
        rows = leads[first : first + step]
        lead, product = np.repeat(rows, products.size), np.tile(products, rows.size)
        connection.register("rectangle", make_pair_table(lead, product))
        scored = model_set.score(
            load_pair_features(connection, "select lead_row, product_row from rectangle")
        )
        connection.unregister("rectangle")
        for output, name in enumerate(OUTPUTS):
            values = np.clip(scored[name].to_numpy(), LEAST, 1 - LEAST).reshape(rows.size, -1)
            log_odds[output, first : first + step] = logit(values[:, order])
    return log_odds


def choose_references(log_odds: FloatArray) -> IntArray:
    """Return the positions of the products that explain the others best.

    Args:
        log_odds: Of the sampled leads: output, lead, product.
    """
    outputs, leads, products = log_odds.shape
    count = min(REFERENCES, products)
    if not leads:
        return np.arange(count)
    deviations = log_odds - log_odds.mean(axis=1, keepdims=True)
    scale = deviations.std(axis=(1, 2), keepdims=True)
    scaled = deviations / np.where(scale > 0, scale, 1)
    _, order = qr(scaled.reshape(outputs * leads, products), mode="r", pivoting=True)
    return np.asarray(order[:count], np.int64)


def _fit_group(
    estimates: ScoreEstimates,
    leads: IntArray,
    products: IntArray,
    every: FloatArray,
    at_sampled: FloatArray,
    at_references: FloatArray,
) -> None:
    """Fit the coefficients of a group's products, and enter them and its leads' parts.

    Args:
        estimates: Is filled.
        leads: Rows of the group's leads.
        products: Rows of the group's products.
        every: Log-odds of the sampled leads at every product: output, lead, product.
        at_sampled: The same at the references.
        at_references: The same of all leads.
    """
    for output, (y, x, references) in enumerate(zip(every, at_sampled, at_references, strict=True)):
        count = references.shape[1]
        centre = (x if len(x) else references).mean(axis=0)
        target, deviation = y - x.mean(axis=1, keepdims=True), x - centre
        constant = target.sum(axis=0) / (len(x) + RIDGE)
        weights = np.linalg.solve(
            deviation.T @ deviation + RIDGE * np.eye(count), deviation.T @ (target - constant)
        )
        estimates.lead_part[output, leads] = references.mean(axis=1)
        estimates.references[output, :count, leads] = references - centre
        estimates.product_part[output, products] = constant.round(DIGITS)
        estimates.weights[output, :count, products] = weights.T.round(DIGITS)
