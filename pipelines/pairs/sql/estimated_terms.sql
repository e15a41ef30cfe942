-- The pairs of `estimated_pairs` with the terms of their product; the estimated probabilities are
-- in the place of what the models would predict.

select
    estimated_pairs.lead_row,
    estimated_pairs.product_row,
    leads.matched_amount as amount,
    leads.term_months,
    leads.pd,
    products.price_model,
    products.price,
    products.amount_max,
    products.term_max_months,
    products.reference_apr,
    products.exchange_rate,
    products.fee_share,
    products.monthly_fee_share,
    products.fee_money,
    products.monthly_fee_money,
    products.apr_min,
    products.apr_max,
    products.price_cap,
    products.pd_min,
    products.pd_max,
    estimated_pairs.p_approve,
    estimated_pairs.p_fund,
    cast(null as double) as cost_per_lead
from estimated_pairs
inner join leads on estimated_pairs.lead_row = leads.lead_row
inner join products on estimated_pairs.product_row = products.product_row
