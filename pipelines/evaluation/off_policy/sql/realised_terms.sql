-- The terms of each match with its outcome in place of the probabilities: 1 or 0. A loan that isn't
-- overdue counts with the probability of default that it was scored with.
create or replace view realised_terms as
select
    match_outcomes.channel_id,
    match_outcomes.lead_id,
    match_outcomes.institution_id,
    match_outcomes.product_id,
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
    case
        when match_outcomes.lent > 0 then match_outcomes.lent / products.exchange_rate
        else leads.matched_amount
    end as amount,
    leads.term_months,
    case when match_outcomes.is_defaulted then 1.0 else matches.pd end as pd,
    cast(match_outcomes.is_approved as double) as p_approve,
    cast(match_outcomes.is_funded as double) as p_fund,
    match_outcomes.apr as suggested_apr,
    cast(null as double) as cost_per_lead
from match_outcomes
inner join matches using (match_id)
inner join leads
    on
        match_outcomes.channel_id = leads.channel_id
        and match_outcomes.lead_id = leads.lead_id
inner join products
    on
        match_outcomes.institution_id = products.institution_id
        and match_outcomes.product_id = products.product_id
