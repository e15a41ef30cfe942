-- One row per outcome taken in on the business date: what its institution is answered.
--
-- A receipt gives nothing away: an institution that names a lead or match which it did not receive
-- is answered `not_delivered`, whether or not the lead exists and which institution received it.

select
    institution_id,
    cast(landed_on as varchar) || '/' || file as file,
    file_line as line,
    case when unlinked_reason is null then 'accepted' else 'ignored' end as status,
    case
        when
            unlinked_reason in (
                'unknown_lead', 'unknown_match', 'other_institution', 'not_delivered'
            )
            then 'not_delivered'
        else unlinked_reason
    end as reason,
    unlinked_reason

from {{ ref("int_outcomes__linked") }}
where taken_in_on = {{ run_day() }} and not is_history
