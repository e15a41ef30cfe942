"""What a person was shown before: not the same product again so soon, and no rival of a lender whom
the person is promised to for a while. `expectations/policy/pairs.yml` says for how long.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from pipelines.core.errors import InputMissing
from pipelines.pairs.eligibility.bitsets import packed
from pipelines.pairs.eligibility.rule_index import SetsRefused


def refused_for_earlier_offers(
    connection: duckdb.DuckDBPyConnection, products: pa.Table, day: date
) -> Iterator[SetsRefused]:
    """Yield what earlier matches of the leads' persons rule out on `day`.

    Args:
        connection: With the tables `leads`, `products` and `earlier_offers` (`channel_id`,
            `lead_id`, `institution_id`, `product_id`, `offered_on`: the last such match).
        products: Table `products`, in the order of `product_row`.
        day: The business date.
    """
    rules = policy.pairs()
    shown = connection.execute(
        """
        select lead_row, product_row
        from earlier_offers
        join leads using (channel_id, lead_id)
        join products using (institution_id, product_id)
        where offered_on + $days::int > $day::date
        order by all
        """,
        {"days": rules.same_product_again_days, "day": day},
    ).fetchnumpy()
    rows = np.asarray(shown["product_row"], np.int64)
    each_product = packed(np.eye(products.num_rows, dtype=np.bool_))
    yield SetsRefused("shown_lately", np.asarray(shown["lead_row"], np.int64), each_product[rows])
    owner = np.asarray(products["institution_id"].to_pylist(), np.str_)
    for promised in rules.exclusive:
        leads = connection.execute(
            """
            select distinct lead_row
            from earlier_offers join leads using (channel_id, lead_id)
            where institution_id = $institution and offered_on + $days::int > $day::date
            order by all
            """,
            {"institution": promised.institution_id, "days": promised.days, "day": day},
        ).fetchnumpy()["lead_row"]
        rivals = packed(owner != promised.institution_id)
        yield SetsRefused(
            "exclusive", np.asarray(leads, np.int64), np.tile(rivals, (len(leads), 1))
        )


def load_earlier_offers(connection: duckdb.DuckDBPyConnection, marts: Path) -> None:
    """Create table `earlier_offers` of the mart of that name.

    Raises:
        InputMissing: The marts were made before there was such a mart.
    """
    file = marts / "earlier_offers.parquet"
    if not file.exists():
        raise InputMissing(
            f"{marts} has no earlier_offers.parquet: an earlier version made it. Nothing was done. "
            "Run the step `transform` for the date, then the steps after it."
        )
    connection.execute(
        "create or replace table earlier_offers as from read_parquet($file)", {"file": str(file)}
    )
