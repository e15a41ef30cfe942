-- One probability of each published match: predicted, true, and the outcome if it is known.
--
-- `weight` is the true probability that the question arises: take-up follows an approval, default
-- a funded loan.

with banyan as (

    select *
    from offers
    where policy = 'banyan'

),

pairs as (

    select
        matches.channel_id,
        matches.lead_id,
        matches.institution_id,
        matches.product_id,
        matches.p_approve,
        matches.p_fund,
        matches.pd,
        banyan.p_approve as true_p_approve,
        banyan.p_fund as true_p_fund,
        banyan.p_default as true_pd
    from matches
    inner join banyan
        on
            matches.channel_id = banyan.channel_id
            and matches.lead_id = banyan.lead_id
            and matches.institution_id = banyan.institution_id
            and matches.product_id = banyan.product_id

),

predictions as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        case $target
            when 'approval' then p_approve
            when 'take-up' then p_fund
            when 'default' then pd
        end as predicted,
        case $target
            when 'approval' then true_p_approve
            when 'take-up' then true_p_fund
            when 'default' then true_pd
        end as true_probability,
        case $target
            when 'approval' then 1.0
            when 'take-up' then true_p_approve
            when 'default' then true_p_approve * true_p_fund
        end as weight
    from pairs

)

select
    predictions.predicted,
    predictions.true_probability,
    predictions.weight,
    known.label
from predictions
left join known
    on
        predictions.channel_id = known.channel_id
        and predictions.lead_id = known.lead_id
        and predictions.institution_id = known.institution_id
        and predictions.product_id = known.product_id
order by
    predictions.predicted,
    predictions.channel_id,
    predictions.lead_id,
    predictions.institution_id,
    predictions.product_id
