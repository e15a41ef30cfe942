-- What a random draw from its own eligible leads would give each product, and the terms that its
-- matches must keep: the least approval rate, and the highest costs in the base currency.
--
-- A share price is the same share of every loan: its cost is a share of the amount lent, which no
-- choice of leads makes worse, so it has no drawn cost. Sums are in whole billionths, so that they
-- do not depend on their order; rounded so that leads that are all alike keep the terms.
create or replace table drawn_rates as
with

draws as (
    select
        products.product_row,
        count(*) as pairs,
        sum(cast(floor(drawn_pairs.p_approve * 1e9) as hugeint)) as approved,
        sum(cast(floor(drawn_pairs.p_approve * drawn_pairs.p_fund * 1e9) as hugeint)) as funded,
        sum(cast(ceil(drawn_pairs.revenue * 1e4) as hugeint)) * 1e5 as fees
    from drawn_pairs
    inner join products using (institution_id, product_id)
    where isfinite(drawn_pairs.revenue) and abs(drawn_pairs.revenue) <= $max_pair_value
    group by products.product_row
)

select
    products.product_row,
    draws.approved / draws.pairs / 1e9 as drawn_approval_rate,
    case when products.price_model != 'cps' then draws.fees / nullif(draws.funded, 0) end
        as drawn_cost_per_funded,
    products.highest_cost_per_funded,
    products.highest_cost_per_approval
from products
left join draws using (product_row)
order by products.product_row
