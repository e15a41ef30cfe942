-- The surplus of the day's matches by side, and steering: how often the order of the offers by fee
-- differs from the order by the person's interest, and what it would have cost the persons.
--
-- Money in the base currency; sums in whole ten-thousandths do not depend on their order.
with

ordered as (
    select
        *,
        row_number() over (
            partition by lead_row order by revenue desc, rank asc
        ) as fee_order,
        first_value(person_benefit) over (
            partition by lead_row order by rank asc
        ) as best_benefit,
        count(*) over (partition by lead_row) as offers
    from chosen
)

select
    coalesce(sum(cast(round(person_benefit * 10000) as hugeint)), 0) / 10000.0 as person_benefit,
    coalesce(sum(cast(round(institution_margin * 10000) as hugeint)), 0) / 10000.0
        as institution_margin,
    coalesce(sum(cast(round(revenue * 10000) as hugeint)), 0) / 10000.0 as fees,
    coalesce(sum(cast(round(p_approve * 1e9) as hugeint)), 0) / 1e9 as approvals,
    coalesce(sum(cast(round(p_approve * p_fund * 1e9) as hugeint)), 0) / 1e9 as loans,
    count(*) filter (where fee_order = 1 and offers > 1) as leads_with_a_choice,
    count(*) filter (where fee_order = 1 and offers > 1 and rank > 1) as steered_by_fee,
    coalesce(sum(cast(round((best_benefit - person_benefit) * 10000) as hugeint)) filter (
        where fee_order = 1 and offers > 1
    ), 0) / 10000.0 as cost_of_steering
from ordered
