"""What each product approves and has taken up where a lead's risk lies in its band."""

import duckdb
import pyarrow as pa

BAND_PARTS = 10
"""Parts of a product's risk band whose rates are told apart."""

WEIGHT = 20
"""A rate is pulled to what is expected as if by so many pairs."""


def learn_rates(connection: duckdb.DuckDBPyConnection, scored: pa.Table) -> None:
    """Create table `cut_rates`: `p_approve`, `p_fund` by `product_row` and `part` of its band.

    A rate is the mean of the cell's pairs, pulled to what its product and part lead to expect.

    Args:
        connection: With table `products`.
        scored: Pairs with `product_row`, `pd`, `p_approve`, `p_fund`.
    """
    connection.register("cut_scored", scored)
    rates = ", ".join(_rate(name) for name in ("p_approve", "p_fund"))
    connection.execute(
        f"""
        create or replace table cut_rates as
        with cells as (
            select
                product_row, {part_of_band("pd", "pd_max")} as part, count(*) as pairs,
                sum({_billionths("scored.p_approve")}) as p_approve,
                sum({_billionths("scored.p_fund")}) as p_fund
            from cut_scored as scored join products using (product_row)
            group by all
        ),

        parts as (
            select
                part, sum(cells.p_approve) / nullif(sum(pairs), 0) as p_approve,
                sum(cells.p_fund) / nullif(sum(pairs), 0) as p_fund
            from cells group by part
        ),

        overall as (
            select sum(p_approve) / sum(pairs) as p_approve, sum(p_fund) / sum(pairs) as p_fund
            from cells
        ),

        of_part as (
            select
                part, coalesce(parts.p_approve, overall.p_approve, 0) as p_approve,
                coalesce(parts.p_fund, overall.p_fund, 0) as p_fund
            from range({BAND_PARTS}) as numbers (part)
            left join parts using (part)
            cross join overall
        ),

        of_product as (
            select
                product_row, sum(cells.p_approve) as p_approve, sum(cells.p_fund) as p_fund,
                sum({_billionths("pairs * of_part.p_approve / 1e9")}) as like_p_approve,
                sum({_billionths("pairs * of_part.p_fund / 1e9")}) as like_p_fund
            from cells join of_part using (part)
            group by product_row
        )

        select products.product_row, of_part.part, {rates}
        from products
        cross join of_part
        left join of_product on of_product.product_row = products.product_row
        left join cells as of_cell
            on of_cell.product_row = products.product_row and of_cell.part = of_part.part
        """
    )
    connection.unregister("cut_scored")


def _rate(name: str) -> str:
    expected = f"""
        of_part.{name} * (coalesce(of_product.{name}, 0) + {WEIGHT}e9)
        / (coalesce(of_product.like_{name}, 0) + {WEIGHT}e9)
    """
    return f"""
        least(1, (coalesce(of_cell.{name}, 0) + {WEIGHT} * {expected})
        / (coalesce(of_cell.pairs, 0) + {WEIGHT}) / 1e9) as {name}
    """


def _billionths(number: str) -> str:
    """Return SQL of a number in whole billionths: sums of them don't depend on their order."""
    return f"cast(round({number} * 1e9) as hugeint)"


def part_of_band(pd: str, pd_max: str) -> str:
    """Return SQL of the part of a product's band in which a lead's risk lies."""
    share = f"{pd} / coalesce(nullif({pd_max}, 0), 1)"
    return f"cast(least({BAND_PARTS - 1}, floor({BAND_PARTS} * {share})) as int)"
