"""Feed of the fees that the simulated products state besides their rates.

Lenders of the simulated market lend close to the highest lawful rate, so their fees are small: a
guarantor takes at most what the rate leaves below the ceiling. Nobody in the market reacts to fees;
the calibrated costs of acquisition are without them.
"""

from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.market.catalogue import product_ids
from pipelines.simulate.market.lenders import Lenders, Products
from pipelines.simulate.world import CURRENCY, TextArray, World

GUARANTEED = 0.4
"""Share of products with a guarantee fee, among the ones whose rate leaves room for it."""
GUARANTORS = 5
PENALTY = 0.5
"""What late payment costs a month, as a share of the highest rate."""


def fee_table(world: World, lenders: Lenders, products: Products, day: date) -> pa.Table:
    """Return the feed rows of all products' fees on `day`, with the position of the lender.

    Each product states what late payment costs, and either a guarantee fee, a share of the balance
    a month that keeps the annual cost within the ceiling, or that it charges nothing besides.
    """
    number = np.arange(products.lender.size)
    rate = world.highest_rate(day)
    highest = np.round(products.apr_max * rate, 4)
    guarantee = _guarantee_fees(world, number, np.maximum(0.0, rate - highest))
    is_guaranteed = guarantee > 0
    lender = lenders.name[products.lender]
    guarantor = np.char.add(
        "Guarantor ", world.random.integers("guarantor", GUARANTORS, number).astype(np.str_)
    )
    parts = [
        _fees(number, "late_payment", np.round(PENALTY * highest / 12, 5), lender, default=True),
        _fees(number[is_guaranteed], "guarantee_fee", guarantee[is_guaranteed], guarantor),
        _fees(number[~is_guaranteed], "service_fee", np.zeros((~is_guaranteed).sum()), lender),
    ]
    table = pa.concat_tables(parts)
    product = table["number"].to_numpy()
    table = table.drop_columns("number").add_column(0, "lender", pa.array(products.lender[product]))
    return table.add_column(1, "product_id", pa.array(product_ids(products)[product]))


def _guarantee_fees(world: World, number: IntArray, room: FloatArray) -> FloatArray:
    """Return the monthly guarantee fee of each product, 0 without one.

    It is half to all of the room below the ceiling of the rate, rounded down.
    """
    share = 0.5 + 0.5 * world.random.uniform("guarantee fee", number)
    has_fee = world.random.uniform("is guaranteed", number) < GUARANTEED
    return np.where(has_fee, np.floor(1e5 * room * share / 12) / 1e5, 0.0)


def _fees(
    number: IntArray, name: str, value: FloatArray, collector: TextArray, *, default: bool = False
) -> pa.Table:
    """Return one fee of each product in `number`, a share of the balance."""
    count = number.size
    return pa.table(
        {
            "number": number,
            "fee": np.full(count, name),
            "basis": np.full(count, "share_of_balance"),
            "value": value,
            "currency": np.full(count, CURRENCY),
            "when": np.full(count, "on_default" if default else "each_period"),
            "collector": collector[number],
            "is_contingent": np.full(count, default),
        }
    )
