-- Pairs of the season's leads whose approval, and whose loan, is known.

with season as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id
    from read_parquet($pairs)
    where business_date >= $first

),

reported as (

    select distinct
        channel_id,
        lead_id,
        institution_id,
        product_id,
        event
    from read_parquet($outcomes)

)

select
    count(*) filter (where reported.event = 'approved') as approved,
    count(*) filter (where reported.event = 'funded') as funded
from reported
semi join season
    on
        reported.channel_id = season.channel_id
        and reported.lead_id = season.lead_id
        and reported.institution_id = season.institution_id
        and reported.product_id = season.product_id
