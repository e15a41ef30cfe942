-- Loans of each product of `products` whose whole cost is limited, at its highest stated rate: one
-- for each term that leads ask for, and one for each that it lends (`is_any_term`), for leads that
-- name none.

with limited as (

    select * from products
    where whole_cost_cap is not null

),

asked as (

    select distinct greatest(1, term_months) as months
    from leads
    where term_months is not null

),

terms as (

    select
        limited.product_row,
        asked.months,
        false as is_any_term
    from limited
    cross join asked
    union all
    select
        product_row,
        unnest(range(term_min_months, term_max_months + 1)) as months,
        true as is_any_term
    from limited

)

select
    terms.product_row,
    terms.months,
    terms.is_any_term,
    cast(1 as double) as amount,
    limited.apr_max as rate,
    limited.whole_cost_cap,
    limited.repayment,
    limited.is_compound,
    limited.upfront_share,
    limited.upfront_fixed,
    limited.period_share_of_amount,
    limited.period_share_of_balance,
    limited.period_fixed,
    limited.end_share_of_amount,
    limited.end_share_of_balance,
    limited.end_fixed
from terms
inner join limited on terms.product_row = limited.product_row
order by terms.is_any_term, terms.months, terms.product_row
