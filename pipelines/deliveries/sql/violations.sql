-- Rows of `audited_rows`, the content of a lead file beside its matches and leads, that
-- `$institution` must not receive: number of rows by kind of violation.

with suppressed as (

    select distinct
        channel_id,
        lead_id
    from suppression_orders
    where coalesce(institution_id, $institution) = $institution and effective_at < $known_end

),

audited as (

    select
        case
            when audited_rows.match_id is null then 'not matched with it'
            when audited_rows.lead_id is null then 'not a lead of the day'
            when
                not coalesce(
                    list_contains(audited_rows.consent_scope, $every_institution)
                    or list_contains(audited_rows.consent_scope, $institution), false
                )
                then 'consent does not cover it'
            when
                audited_rows.consent_withdrawn_at is not null
                or coalesce(later_consents.is_withdrawn, false)
                then 'consent withdrawn'
            when
                not coalesce(
                    audited_rows.consent_at >= $oldest_consent
                    and audited_rows.consent_at < $day_end, false
                )
                then 'consent expired or not given yet'
            when suppressed.lead_id is not null then 'suppressed'
            when audited_rows.has_other_personal_data then 'columns of another person'
            when
                audited_rows.id_key is not null
                and count(*) over (partition by audited_rows.id_key) > 1
                then 'an identity number twice'
            when
                audited_rows.phone_key is not null
                and count(*) over (partition by audited_rows.phone_key) > 1
                then 'a phone twice'
        end as violation
    from audited_rows
    left join suppressed
        on
            audited_rows.channel_id = suppressed.channel_id
            and audited_rows.lead_id = suppressed.lead_id
    left join later_consents
        on
            audited_rows.channel_id = later_consents.channel_id
            and audited_rows.lead_id = later_consents.lead_id

)

select
    violation,
    count(*) as violations
from audited
where violation is not null
group by violation
order by violation
