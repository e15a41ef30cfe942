-- Decisions known of each product, and the key by which its expected number of explored pairs is
-- rounded. The salt 'trials' is part of the key: another salt would draw other pairs.
select
    coalesce(product_decisions, 0) as decisions,
    md5_number_lower(
        concat_ws(chr(31), 'trials', $day, institution_id, product_id)
    ) >> 32 as rounding_key
from products
order by product_row
