-- One row per line of the outcome files of the institutions in `$names` that were taken in on the
-- day; one without a line is about a whole file. Tables: `judged` (the mart), `quarantined` of the
-- feed's partition, `unread` (`unread_rows.sql`), `history_files` (paths that no partner sent).

with emptied as (

    select
        quarantined.source as institution_id,
        quarantined.file,
        quarantined.line,
        'emptied: ' || string_agg(distinct quarantined."column", ', ' order by quarantined."column")
            as reason
    from quarantined
    where quarantined.severity = 'warning' and quarantined.line is not null
    group by quarantined.source, quarantined.file, quarantined.line

),

accepted_or_not as (

    select
        judged.institution_id,
        'outcomes/' || judged.institution_id || '/' || judged.file as path,
        judged.line,
        judged.status,
        coalesce(judged.reason, emptied.reason) as reason
    from judged
    left join emptied
        on
            judged.institution_id = emptied.institution_id
            and 'outcomes/' || judged.institution_id || '/' || judged.file = emptied.file
            and judged.line = emptied.line

),

answered as (

    select * from accepted_or_not
    union all
    select
        institution_id,
        path,
        line,
        'ignored' as status,
        reason
    from unread

)

select
    answered.institution_id,
    replace(answered.path, 'outcomes/' || answered.institution_id || '/', '') as file,
    answered.line,
    answered.status,
    answered.reason
from answered
anti join history_files on answered.path = history_files.path
where list_contains($names, answered.institution_id)
order by answered.institution_id, answered.path, answered.line nulls first, answered.reason
