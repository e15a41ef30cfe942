-- The pairs that a challenger chooses from, numbered in the order of their keys.
create or replace table pairs as
select
    *,
    row_number() over (order by channel_id, lead_id, institution_id, product_id) - 1 as row
from valued_pairs
where expected_value >= $minimum_value and expected_value > 0
order by row
