-- The loans of `offered` at the suggested rate. A lead that names no term is shown the longest.

select
    offered.match_id,
    offered.amount,
    coalesce(offered.term_months, products.term_max_months) as months,
    offered.suggested_apr as rate,
    products.repayment,
    products.is_compound,
    products.upfront_share,
    products.upfront_fixed,
    products.period_share_of_amount,
    products.period_share_of_balance,
    products.period_fixed,
    products.end_share_of_amount,
    products.end_share_of_balance,
    products.end_fixed
from offered
inner join products using (institution_id, product_id)
order by offered.match_id
