-- One row per line that was judged on the day, and per line or file of the feed that was not
-- loaded, in the order of the file. Tables: `judged` (receipts) and `unread` (`unread_rows.sql`).
--
-- An answer gives nothing away: a delivery of another institution is one that there is not.

select
    institution_id,
    file,
    line,
    delivery_id,
    version,
    case when judgement in ('received', 'refused') then 'accepted' else 'ignored' end as status,
    case
        when judgement = 'foreign' then 'unknown_delivery'
        when judgement not in ('received', 'refused') then judgement
    end as reason
from judged
where judgement <> 'test'

union all

select
    institution_id,
    replace(path, 'receipts/' || institution_id || '/', '') as file,
    line,
    cast(null as varchar) as delivery_id,
    cast(null as bigint) as version,
    'ignored' as status,
    reason
from unread

order by institution_id, file, line nulls first, delivery_id, version, status, reason
