-- One row per recent lead without a reason that excludes it, with the canonical lead of the same
-- person: itself, or an earlier one at most `same_person_days` before.
--
-- The first lead of a person is canonical; the next canonical one is the first after its window and
-- so on. The order is that of processing: by business date, then capture, then keys, so a lead that
-- arrives late never displaces one that was matched already.

{% set window = (var("same_person_days") | int) + 1 %}

with recursive leads as (

    select
        channel_id,
        lead_id,
        business_date,
        person_key,
        row_number() over (
            partition by person_key, business_date order by captured_at, channel_id, lead_id
        ) as number_on_day

    from {{ ref("int_leads__screened") }}
    where stage is null

),

first_leads as (

    select
        *,
        row_number() over (partition by person_key order by business_date) as lead_number,
        min(business_date) over (
            partition by person_key
            order by business_date
            range between interval '{{ window }}' day following and unbounded following
        ) as next_canonical_date

    from leads
    where number_on_day = 1

),

canonical as (

    select
        person_key,
        channel_id,
        lead_id,
        business_date,
        next_canonical_date
    from first_leads
    where lead_number = 1

    union all

    select
        later.person_key,
        later.channel_id,
        later.lead_id,
        later.business_date,
        later.next_canonical_date

    from canonical
    inner join first_leads as later
        on
            canonical.person_key = later.person_key
            and canonical.next_canonical_date = later.business_date

)

select
    leads.channel_id,
    leads.lead_id,
    canonical.channel_id as canonical_channel_id,
    canonical.lead_id as canonical_lead_id,
    leads.channel_id = canonical.channel_id and leads.lead_id = canonical.lead_id as is_canonical

from leads
inner join canonical
    on
        leads.person_key = canonical.person_key
        and leads.business_date >= canonical.business_date
        and (
            canonical.next_canonical_date is null
            or leads.business_date < canonical.next_canonical_date
        )
