-- Leads without a match: the stage at which the last product was excluded, and the detail. A
-- duplicate isn't listed, since its canonical lead is.
with

exits (step, stage, detail) as (
    values
    ('open', 'no_product', 'no_open_product'),
    ('consent', 'consent', 'no_institution_in_scope'),
    ('suppressed', 'suppressed', 'every_institution'),
    ('segment', 'no_product', 'segment'),
    ('currency', 'no_product', 'currency'),
    ('amount', 'no_product', 'amount'),
    ('term', 'no_product', 'term'),
    ('rules', 'no_product', 'rules'),
    ('cost_disclosure', 'no_product', 'costs_not_stated'),
    ('price_cap', 'price_cap', 'apr_above_cap'),
    ('risk_band', 'risk_band', 'pd_outside_band'),
    ('contact_frequency', 'no_product', 'contact_frequency'),
    ('exclusive', 'no_product', 'promised_elsewhere'),
    ('low_odds', 'low_value', 'odds_below_minimum'),
    ('low_value', 'low_value', 'below_minimum')
),

last_steps as (
    select
        funnel.channel_id,
        funnel.lead_id,
        case
            when funnel.open = 0 then 'open'
            when funnel.consent = 0 then 'consent'
            when funnel.suppressed = 0 then 'suppressed'
            when funnel.segment = 0 then 'segment'
            when funnel.currency = 0 then 'currency'
            when funnel.amount = 0 then 'amount'
            when funnel.term = 0 then 'term'
            when funnel.rules = 0 then 'rules'
            when funnel.cost_disclosure = 0 then 'cost_disclosure'
            when funnel.price_cap = 0 then 'price_cap'
            when funnel.risk_band = 0 then 'risk_band'
            when funnel.contact_frequency = 0 then 'contact_frequency'
            when funnel.exclusive = 0 then 'exclusive'
            when funnel.low_odds = 0 then 'low_odds'
            when funnel.low_value = 0 then 'low_value'
        end as step
    from funnel
),

-- leads whose phone the plan gave to another lead
sharing as (
    select
        leads.channel_id,
        leads.lead_id
    from leads
    left join shared_offers using (lead_row)
    where
        coalesce(shared_offers.first_lead_row, leads.lead_row) in (
            select coalesce(others.first_lead_row, chosen.lead_row)
            from chosen
            left join shared_offers as others on chosen.lead_row = others.lead_row
        )
)

select
    mart_leads.channel_id,
    mart_leads.lead_id,
    coalesce(mart_leads.exclusion_stage, exits.stage, 'quota') as stage,
    case
        when mart_leads.exclusion_stage is not null then mart_leads.exclusion_detail
        when exits.step = 'currency' and leads.currency is null then 'currency_unknown'
        when exits.step = 'amount' and leads.matched_amount is null then 'amount_unknown'
        when exits.detail is not null then exits.detail
        when sharing.lead_id is not null then 'shared_phone'
        else coalesce(exhausted.detail, 'quota_full')
    end as detail
from mart_leads
left join last_steps using (channel_id, lead_id)
left join exits using (step)
left join exhausted using (channel_id, lead_id)
left join sharing using (channel_id, lead_id)
left join leads using (channel_id, lead_id)
where
    mart_leads.exclusion_stage is distinct from 'duplicate'
    and (mart_leads.channel_id, mart_leads.lead_id) not in (
        select (chosen.channel_id, chosen.lead_id) from chosen
    )
order by mart_leads.channel_id, mart_leads.lead_id
