-- One row per pair (a lead at an institution's product) that an outcome is known of: the pairs that
-- models may learn from.

select distinct
    channel_id,
    lead_id,
    institution_id,
    product_id,
    business_date

from {{ ref("int_outcomes__linked") }}
where unlinked_reason is null
