-- The matches of the leads from `$first` to `$last`.
select
    lead_row,
    product_row
from chosen
where lead_row between $first and $last
order by lead_row, product_row
