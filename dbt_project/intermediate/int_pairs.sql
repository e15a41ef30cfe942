-- One row per pair (a lead at an institution's product) that an outcome is known of: the pairs that
-- models may learn from. Nothing is known of an erased person's lead that a model could learn from.

select distinct
    channel_id,
    lead_id,
    institution_id,
    product_id,
    business_date

from {{ ref("int_outcomes__linked") }}
where unlinked_reason is null and not {{ is_erased("lead_id") }}
