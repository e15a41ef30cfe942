-- One row per recent lead that shares its device or phone with more leads than the identity policy
-- allows within so many days up to its own: a sign of a form filled by a machine or a broker.

{% set origins = [
    {"column": "device_id", "name": "device_burst"},
    {"column": "phone_sha256", "name": "phone_burst"},
] %}

with leads as (

    select * from {{ ref("stg_lake__leads") }}

),

recent as (

    select * from {{ ref("int_leads__recent") }}

),

{% for origin in origins %}
    {% set days = var(origin.name ~ "_days") | int %}
    from_one_{{ origin.column }} as (

        select
            channel_id,
            lead_id,
            count(*) over (
                partition by {{ origin.column }}
                order by business_date
                range between interval '{{ days - 1 }}' day preceding and current row
            ) as leads_in_window

        from leads
        where
            {{ origin.column }} in (select {{ origin.column }} from recent)
            and business_date > {{ add_days("(select min(business_date) from recent)", - days) }}

    ),

{% endfor %}
bursts as (

    {% for origin in origins %}
        select
            channel_id,
            lead_id,
            '{{ origin.name }}' as detail
        from from_one_{{ origin.column }}
        where leads_in_window > {{ var(origin.name ~ "_leads") }}
        {{ "union all" if not loop.last }}
    {% endfor %}

)

select
    channel_id,
    lead_id,
    min(detail) as detail

from bursts
group by channel_id, lead_id
