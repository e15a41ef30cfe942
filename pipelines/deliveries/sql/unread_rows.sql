-- One row per line of a partner's files that was not loaded, with every rule that it breaks; one
-- without a line is about a whole file. Tables: `quarantined` and `ledger_files` of the feed's
-- partition.

select
    source as institution_id,
    file as path,
    line,
    string_agg(
        distinct rule || coalesce(': ' || "column", ''), ', '
        order by rule || coalesce(': ' || "column", '')
    ) as reason
from quarantined
where severity <> 'warning'
group by source, file, line

union all

select
    source as institution_id,
    path,
    cast(null as bigint) as line,
    state as reason
from ledger_files
where state in ('copy', 'replaced')
