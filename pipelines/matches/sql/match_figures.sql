-- The surplus of the day's matches by side, and steering: how often the order of the offers by fee
-- differs from the order by the person's interest, and what it would have cost the persons.
-- Adjusted fees are what comes of the fees that the models expect, by the earlier matches of the
-- institution.
--
-- Money in the base currency; sums in whole ten-thousandths do not depend on their order.
with

ordered as (
    select
        chosen.*,
        chosen.revenue * products.fees_to_expected as adjusted_fee,
        row_number() over (
            partition by chosen.lead_row order by chosen.revenue desc, chosen.rank asc
        ) as fee_order,
        first_value(chosen.person_benefit) over (
            partition by chosen.lead_row order by chosen.rank asc
        ) as best_benefit,
        count(*) over (partition by chosen.lead_row) as offers
    from chosen
    inner join products using (institution_id, product_id)
)

select
    coalesce(sum(cast(round(person_benefit * 10000) as hugeint)), 0) / 10000.0 as person_benefit,
    coalesce(sum(cast(round(institution_margin * 10000) as hugeint)), 0) / 10000.0
        as institution_margin,
    coalesce(sum(cast(round(revenue * 10000) as hugeint)), 0) / 10000.0 as fees,
    coalesce(sum(cast(round(adjusted_fee * 10000) as hugeint)), 0) / 10000.0 as adjusted_fees,
    coalesce(sum(cast(round(p_approve * 1e9) as hugeint)), 0) / 1e9 as approvals,
    coalesce(sum(cast(round(p_approve * p_fund * 1e9) as hugeint)), 0) / 1e9 as loans,
    count(*) filter (where fee_order = 1 and offers > 1) as leads_with_a_choice,
    count(*) filter (where fee_order = 1 and offers > 1 and rank > 1) as steered_by_fee,
    coalesce(sum(cast(round((best_benefit - person_benefit) * 10000) as hugeint)) filter (
        where fee_order = 1 and offers > 1
    ), 0) / 10000.0 as cost_of_steering
from ordered
