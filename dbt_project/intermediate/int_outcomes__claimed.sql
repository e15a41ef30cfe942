-- One row per outcome, with the lead that it is about, or the reason why it is not linked to one.
--
-- An institution speaks only for what it received: an outcome counts for a match that was delivered
-- to this institution for this product, named by its id or by lead and product. History from before
-- Banyan has no match. It counts by its lead if `simulate` wrote the file, or if `import` did and
-- the lead is older than the first date that Banyan ran; no partner can make a file such history.

with outcomes as (

    select
        *,
        row_number() over (
            order by
                institution_id, taken_in_on, landed_on, file, file_line, recorded_at, event_at,
                event, product_id, match_id, channel_id, lead_id
        ) as outcome_row
    from {{ ref("stg_lake__outcomes") }}

),

leads as (

    select
        channel_id,
        lead_id,
        business_date
    from {{ ref("stg_lake__leads") }}
    union all
    -- of an erased person's lead only the match remains
    select
        channel_id,
        lead_id,
        min(matched_on) as business_date
    from {{ ref("stg_published__matches") }}
    where {{ is_erased("lead_id") }}
    group by channel_id, lead_id

),

matches as (

    select * from {{ ref("stg_published__matches") }}

),

delivered as (

    select * from {{ ref("stg_published__delivered") }}

),

-- of each match id: whose it is; matches that were published but not delivered included
matches_by_id as (

    select
        match_id,
        channel_id,
        lead_id,
        institution_id,
        product_id,
        max(is_delivered) as is_delivered

    from (
        select
            match_id,
            channel_id,
            lead_id,
            institution_id,
            product_id,
            true as is_delivered
        from delivered
        union all
        select
            match_id,
            channel_id,
            lead_id,
            institution_id,
            product_id,
            false as is_delivered
        from matches
    ) as all_matches
    group by match_id, channel_id, lead_id, institution_id, product_id

),

delivered_pairs as (

    select distinct
        channel_id,
        lead_id,
        institution_id,
        product_id
    from delivered

),

delivered_leads as (

    select
        channel_id,
        lead_id,
        institution_id
    from delivered_pairs
    group by channel_id, lead_id, institution_id

),

first_run as (

    select coalesce(min(matched_on), {{ run_day() }}) as first_run_on from matches

),

resolved as (

    select
        outcomes.*,
        named.match_id is not null as is_match_known,
        coalesce(named.is_delivered, false) as is_match_delivered,
        named.institution_id as match_institution_id,
        named.product_id as match_product_id,
        named.match_id is not null
        and named.institution_id = outcomes.institution_id
        and (
            coalesce(outcomes.channel_id, named.channel_id) <> named.channel_id
            or coalesce(outcomes.lead_id, named.lead_id) <> named.lead_id
        ) as is_contradictory,
        case
            when named.institution_id = outcomes.institution_id then named.channel_id
            when named.match_id is null then outcomes.channel_id
        end as linked_channel_id,
        case
            when named.institution_id = outcomes.institution_id then named.lead_id
            when named.match_id is null then outcomes.lead_id
        end as linked_lead_id

    from outcomes
    left join matches_by_id as named
        on outcomes.match_id = named.match_id

),

looked_up as (

    select
        resolved.*,
        leads.business_date,
        leads.lead_id is not null as is_lead_known,
        delivered_pairs.lead_id is not null as is_pair_delivered,
        own_leads.lead_id is not null as is_lead_delivered,
        coalesce(
            resolved.history_kind = 'simulate'
            or (
                resolved.history_kind = 'import' and leads.business_date < first_run.first_run_on
            ),
            false
        ) as is_history

    from resolved
    cross join first_run
    left join leads
        on
            resolved.linked_channel_id = leads.channel_id
            and resolved.linked_lead_id = leads.lead_id
    left join delivered_pairs
        on
            resolved.linked_channel_id = delivered_pairs.channel_id
            and resolved.linked_lead_id = delivered_pairs.lead_id
            and resolved.institution_id = delivered_pairs.institution_id
            and resolved.product_id = delivered_pairs.product_id
    left join delivered_leads as own_leads
        on
            resolved.linked_channel_id = own_leads.channel_id
            and resolved.linked_lead_id = own_leads.lead_id
            and resolved.institution_id = own_leads.institution_id

),

delivered_to_others as (

    select distinct
        channel_id,
        lead_id
    from delivered_leads

),

claimed as (

    select
        looked_up.* exclude (
            is_match_known, is_match_delivered, match_institution_id, -- noqa: RF02
            match_product_id, is_contradictory, is_lead_known, -- noqa: RF02
            is_pair_delivered, is_lead_delivered -- noqa: RF02
        ),
        case
            when looked_up.match_institution_id <> looked_up.institution_id then 'other_institution'
            when looked_up.is_contradictory then 'contradictory'
            when looked_up.is_match_known and looked_up.match_product_id <> looked_up.product_id
                then 'other_product'
            when looked_up.is_match_known and not looked_up.is_match_delivered then 'not_delivered'
            when
                not looked_up.is_match_known
                and (looked_up.linked_channel_id is null or looked_up.linked_lead_id is null)
                then case
                    when looked_up.match_id is null then 'names_no_lead' else 'unknown_match'
                end
            when not looked_up.is_lead_known then 'unknown_lead'
            when looked_up.is_pair_delivered or looked_up.is_history then null
            when looked_up.is_lead_delivered then 'other_product'
            when others.lead_id is not null then 'other_institution'
            else 'not_delivered'
        end as claim_reason

    from looked_up
    left join delivered_to_others as others
        on
            looked_up.linked_channel_id = others.channel_id
            and looked_up.linked_lead_id = others.lead_id

)

select * from claimed
