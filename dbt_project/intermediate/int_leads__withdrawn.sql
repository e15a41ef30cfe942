-- One row per recent lead whose person withdrew consent, on this lead or on another one.
--
-- A withdrawal on an earlier date ends every consent that was given until then. On one date all
-- leads of the person are held: the clocks of two channels don't decide which consent is the newer
-- one.

with leads as (

    select * from {{ ref("int_leads__recent") }}

),

links as (

    select * from {{ ref("int_persons__links") }}

),

withdrawals as (

    select
        person_key,
        business_date,
        max(consent_withdrawn_at) as withdrawn_at
    from {{ ref("int_persons") }}
    where consent_withdrawn_at is not null
    group by person_key, business_date

),

withdrawn as (

    select distinct
        leads.channel_id,
        leads.lead_id

    from leads
    inner join links
        on leads.person_key = links.person_key
    inner join withdrawals
        on
            links.linked_person_key = withdrawals.person_key
            and (
                leads.business_date = withdrawals.business_date
                or (
                    leads.business_date > withdrawals.business_date
                    and leads.consent_at <= withdrawals.withdrawn_at
                )
            )

)

select * from withdrawn
