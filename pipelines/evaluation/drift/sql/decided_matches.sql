-- Matches of the window that were decided within the given days of their date.
--
-- A decision may be corrected: its last version counts, from the day on which any was first known.

create or replace temp table decided as

with decisions as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        cast(timezone($time_zone, min(known_at)) as date) as known_on,
        arg_max(event, (known_at, event_at, event)) != 'declined' as is_approved
    from read_parquet($outcomes)
    where event in ('approved', 'declined', 'funded')
    group by channel_id, lead_id, institution_id, product_id

),

matches as (

    select
        "date" as matched_on,
        "date" > $last_reference as is_current,
        coalesce(models, '') = coalesce($models, '') as is_by_current_models,
        channel_id,
        lead_id,
        institution_id,
        product_id,
        cast(p_approve as decimal(28, 9)) as p_approve
    from read_parquet($matches, hive_partitioning = true)

),

pairs as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        industry
    from read_parquet($pairs)

),

decided_matches as (

    select
        matches.matched_on,
        matches.is_current,
        matches.is_by_current_models,
        matches.institution_id,
        matches.channel_id,
        pairs.industry,
        decisions.is_approved,
        matches.p_approve,
        date_diff('day', matches.matched_on, decisions.known_on) as days_to_decision
    from matches
    inner join decisions
        on
            matches.channel_id = decisions.channel_id
            and matches.lead_id = decisions.lead_id
            and matches.institution_id = decisions.institution_id
            and matches.product_id = decisions.product_id
    inner join pairs
        on
            matches.channel_id = pairs.channel_id
            and matches.lead_id = pairs.lead_id
            and matches.institution_id = pairs.institution_id
            and matches.product_id = pairs.product_id

)

select *
from decided_matches
where days_to_decision <= $max_days
