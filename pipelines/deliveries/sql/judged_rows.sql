-- Matches that `$institution` must not be sent by present knowledge, each with its reason.
--
-- What a person says counts for every row. What the institution or the platform says counts for
-- rows that are new to it: `delivered_ids` are the ones that it already has.

with orders as (

    select distinct
        channel_id,
        lead_id
    from suppression_orders
    where coalesce(institution_id, $institution) = $institution and effective_at < $known_end

),

judged as (

    select
        matches.match_id,
        matches.product_id,
        matches.expected_value,
        present_products.quota,
        delivered_ids.match_id is not null as is_delivered,
        case
            when starts_with(matches.lead_id, $erased) then 'erased'
            when orders.lead_id is not null then 'suppressed'
            when later_consents.is_withdrawn then 'consent_withdrawn'
            when
                later_consents.scopes is not null
                and not list_bool_and(
                    list_transform(
                        later_consents.scopes,
                        lambda scope: list_contains(scope, $every_institution)
                        or list_contains(scope, $institution)
                    )
                )
                then 'consent_narrowed'
            when delivered_ids.match_id is not null then null
            when lake_leads.consent_at < $oldest_consent then 'consent_expired'
            else present_products.closed_reason
        end as reason
    from matches
    inner join present_products
        on
            matches.institution_id = present_products.institution_id
            and matches.product_id = present_products.product_id
    left join delivered_ids on matches.match_id = delivered_ids.match_id
    left join lake_leads
        on matches.channel_id = lake_leads.channel_id and matches.lead_id = lake_leads.lead_id
    left join orders
        on matches.channel_id = orders.channel_id and matches.lead_id = orders.lead_id
    left join later_consents
        on
            matches.channel_id = later_consents.channel_id
            and matches.lead_id = later_consents.lead_id
    where matches.institution_id = $institution

),

-- a row that is taken back gives its place to another one
placed as (

    select
        *,
        row_number() over (
            partition by product_id, reason is null
            order by is_delivered desc, expected_value desc, match_id asc
        ) as place
    from judged

)

select
    match_id,
    coalesce(reason, 'quota') as reason
from placed
where reason is not null or (not is_delivered and place > quota)
order by match_id
