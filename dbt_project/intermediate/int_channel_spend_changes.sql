-- One row per change of what is known of a channel's spend on a date: a corrected figure counts by
-- its difference, on the day on which the correction is known.

with spend as (

    select * from {{ ref("stg_lake__channel_spend") }}

),

changes as (

    select
        channel_id,
        spent_on,
        known_on,
        currency,
        {{ exact("spend") }} - lag({{ exact("spend") }}, 1, {{ exact("0") }}) over (
            partition by channel_id, spent_on, campaign_id, currency order by known_on
        ) as spend

    from spend

)

select
    channel_id,
    spent_on,
    known_on,
    currency,
    sum(spend) as spend

from changes
group by channel_id, spent_on, known_on, currency
