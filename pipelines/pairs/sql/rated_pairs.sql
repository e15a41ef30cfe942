-- The pairs of `eligible_pairs` with the terms of their product and their `approval_rates`, in the
-- place of what the models would predict.

select
    eligible_pairs.lead_row,
    eligible_pairs.product_row,
    leads.matched_amount as amount,
    leads.term_months,
    leads.pd,
    products.price_model,
    products.price,
    products.amount_max,
    products.term_max_months,
    products.reference_apr,
    products.exchange_rate,
    products.apr_min,
    products.apr_max,
    products.price_cap,
    products.pd_min,
    products.pd_max,
    approval_rates.p_approve,
    approval_rates.p_fund,
    cast(null as double) as cost_per_lead
from eligible_pairs
inner join leads on eligible_pairs.lead_row = leads.lead_row
inner join products on eligible_pairs.product_row = products.product_row
inner join approval_rates
    on
        eligible_pairs.product_row = approval_rates.product_row
        and approval_rates.part = band_part(leads.pd, products.pd_max)
