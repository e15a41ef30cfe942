-- The pair of greatest expected value of each lead, of the pairs that were just valued.
select
    lead_row,
    product_row
from valued_now
qualify row_number() over (
    partition by lead_row order by expected_value desc, product_row asc
) = 1
