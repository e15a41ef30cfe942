-- One row per outcome, with the first reason why it does not count, if any: its link to a lead,
-- then its values against the product that was delivered and the law. A lender's sudden change is
-- judged after it, in `int_outcomes__linked`.
--
-- Rates, amounts and currencies of history are not judged: it was made under other terms. Order is
-- judged by what was known by the end of the same date, so that a later report changes nothing.

with claimed as (

    select * from {{ ref("int_outcomes__claimed") }}

),

products as (

    select * from {{ ref("int_products__versions") }}

),

institutions as (

    select * from {{ ref("int_institutions__versions") }}

),

price_caps as (

    select * from {{ ref("stg_policy__price_caps") }}

),

dated as (

    select
        *,
        {{ platform_date("known_at") }} as known_on,
        claim_reason is null and not is_in_future as is_claimed,
        coalesce(business_date, {{ run_day() }}) as terms_on
    from claimed

),

described as (

    select
        dated.*,
        products.product_id is not null as is_product_known,
        products.segment as product_segment,
        products.currency as product_currency,
        products.amount_min,
        products.amount_max,
        products.apr_max,
        institutions.institution_kind

    from dated
    {{ as_of_join("products", "products", "dated", ["institution_id", "product_id"], "terms_on") }}
    {{ as_of_join("institutions", "institutions", "dated", ["institution_id"], "terms_on") }}

),

caps as (

    select
        described.outcome_row,
        min(price_caps.cap) as price_cap

    from described
    inner join price_caps
        on
            described.product_currency = price_caps.currency
            and coalesce(price_caps.kind, described.institution_kind) = described.institution_kind
            and coalesce(price_caps.segment, described.product_segment) = described.product_segment
            and {{ platform_date("described.event_at") }} >= price_caps.valid_from
            and (
                price_caps.valid_to is null
                or {{ platform_date("described.event_at") }} <= price_caps.valid_to
            )
    where described.apr is not null
    group by described.outcome_row

),

compared as (

    select
        described.*,
        caps.price_cap,
        {% for event in ["applied", "approved", "funded"] -%}
            min(described.event_at) filter (
                where described.is_claimed and described.event = '{{ event }}'
            ) over known as first_{{ event }}_at,
        {% endfor -%}
        max(described.event_at) filter (
            where described.is_claimed and described.event = 'funded'
        ) over known as last_funded_at,
        max(described.event_at) filter (
            where
            described.is_claimed
            and described.event in ('overdue_30', 'overdue_60', 'overdue_90', 'repaid')
        ) over known as last_servicing_at,
        min(described.event_at) filter (
            where described.is_claimed and described.event = 'repaid'
        ) over known as first_repaid_at,
        max(described.event_at) filter (
            where
            described.is_claimed
            and described.event in ('overdue_30', 'overdue_60', 'overdue_90')
        ) over known as last_overdue_at

    from described
    left join caps on described.outcome_row = caps.outcome_row
    window
        known as (
            partition by
                described.linked_channel_id,
                described.linked_lead_id,
                described.institution_id,
                described.product_id
            order by described.known_on
            range between unbounded preceding and current row
        )

),

judged as (

    select
        linked_channel_id as channel_id,
        linked_lead_id as lead_id,
        institution_id,
        product_id,
        business_date,
        event,
        event_at,
        recorded_at,
        known_at,
        known_on,
        taken_in_on,
        amount,
        apr,
        currency,
        reason,
        file,
        file_line,
        landed_on,
        is_history,
        case
            when claim_reason is not null then claim_reason
            when is_in_future then 'in_future'
            when not is_product_known then 'unknown_product'
            when is_history then null
            when least(event_at, recorded_at) < {{ day_start("business_date") }}
                then 'before_delivery'
            when apr > price_cap + {{ var("rate_tolerance") }} then 'rate_over_cap'
            when apr > apr_max + {{ var("rate_tolerance") }} then 'rate_over_product'
            when currency <> product_currency then 'other_currency'
            when
                event in ('approved', 'funded')
                and (
                    amount > amount_max * (1 + {{ var("amount_tolerance") }})
                    or amount < amount_min * (1 - {{ var("amount_tolerance") }})
                )
                then 'amount_outside_product'
            when
                event = 'funded'
                and (
                    event_at < first_applied_at
                    or event_at < first_approved_at
                    or event_at > last_servicing_at
                )
                then 'impossible_order'
            when
                event in ('approved', 'applied') and event_at > last_funded_at
                then 'impossible_order'
            when
                event in ('overdue_30', 'overdue_60', 'overdue_90', 'repaid')
                and (first_funded_at is null or event_at < first_funded_at)
                then 'impossible_order'
            when event = 'repaid' and event_at < last_overdue_at then 'impossible_order'
            when
                event in ('overdue_30', 'overdue_60', 'overdue_90') and event_at > first_repaid_at
                then 'impossible_order'
        end as unlinked_reason

    from compared

)

select * from judged
