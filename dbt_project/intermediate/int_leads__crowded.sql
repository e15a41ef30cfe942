-- One row per recent lead that shares its device or phone with more leads than the identity policy
-- allows within so many days up to its own: a sign of a form filled by a machine or a broker.

{% set origins = [
    {"column": "device_id", "leads": var("device_burst_leads"), "days": var("device_burst_days")},
    {"column": "phone_sha256", "leads": var("phone_burst_leads"), "days": var("phone_burst_days")},
] %}

with leads as (

    select * from {{ ref("stg_leads") }}

),

recent as (

    select * from {{ ref("int_leads__recent") }}

),

{% for origin in origins %}
from_same_{{ origin.column }} as (

    select
        channel_id,
        lead_id,
        count(*) over (
            partition by {{ origin.column }}
            order by business_date
            range between interval '{{ origin.days - 1 }}' day preceding and current row
        ) as leads_in_window

    from leads
    where
        {{ origin.column }} in (select {{ origin.column }} from recent)
        and business_date
        > {{ add_days("(select min(business_date) from recent)", - origin.days) }}

),

{% endfor %}
crowded as (

    select channel_id, lead_id, 'device_burst' as detail
    from from_same_device_id
    where leads_in_window > {{ var("device_burst_leads") }}
    union all
    select channel_id, lead_id, 'phone_burst' as detail
    from from_same_phone_sha256
    where leads_in_window > {{ var("phone_burst_leads") }}

)

select
    channel_id,
    lead_id,
    min(detail) as detail

from crowded
group by channel_id, lead_id
