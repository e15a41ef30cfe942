-- The matches of the leads from `$first` to `$last`, which become offers together.
create or replace table offered as
select *
from explained
where lead_row between $first and $last
