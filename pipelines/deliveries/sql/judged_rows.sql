-- Matches that institutions must not be sent by present knowledge, each with its reason.
--
-- What a person says counts for every row. What the institution or the platform says counts for
-- rows that are new to it: `delivered_ids` are the ones that it already has.

with closed_by_order as (

    select distinct
        matches.institution_id,
        matches.match_id
    from matches
    inner join suppression_orders
        on
            matches.channel_id = suppression_orders.channel_id
            and matches.lead_id = suppression_orders.lead_id
            and matches.institution_id
            = coalesce(suppression_orders.institution_id, matches.institution_id)
    where suppression_orders.effective_at < $known_end

),

judged as (

    select
        matches.institution_id,
        matches.match_id,
        matches.product_id,
        matches.expected_value,
        present_products.quota,
        delivered_ids.match_id is not null as is_delivered,
        case
            when starts_with(matches.lead_id, $erased) then 'erased'
            when closed_by_order.match_id is not null then 'suppressed'
            when later_consents.is_withdrawn then 'consent_withdrawn'
            when
                later_consents.scopes is not null
                and not list_bool_and(
                    list_transform(
                        later_consents.scopes,
                        lambda scope: list_contains(scope, $every_institution)
                        or list_contains(scope, matches.institution_id)
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
    left join delivered_ids
        on
            matches.institution_id = delivered_ids.institution_id
            and matches.match_id = delivered_ids.match_id
    left join lake_leads
        on matches.channel_id = lake_leads.channel_id and matches.lead_id = lake_leads.lead_id
    left join closed_by_order
        on
            matches.institution_id = closed_by_order.institution_id
            and matches.match_id = closed_by_order.match_id
    left join later_consents
        on
            matches.channel_id = later_consents.channel_id
            and matches.lead_id = later_consents.lead_id

),

-- a row that is taken back gives its place to another one
placed as (

    select
        *,
        row_number() over (
            partition by institution_id, product_id, reason is null
            order by is_delivered desc, expected_value desc, match_id asc
        ) as place
    from judged

)

select
    institution_id,
    match_id,
    coalesce(reason, 'quota') as reason
from placed
where reason is not null or (not is_delivered and place > quota)
-- `present_products` is empty in a replay that knows nothing later than the date
union distinct
select
    institution_id,
    match_id,
    'erased' as reason
from matches
where starts_with(lead_id, $erased)
order by institution_id, match_id
