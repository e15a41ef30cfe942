-- Value of each pair of `priced_pairs`; its formula and columns are in `valuation.py`.

with terms as not materialized (

    select
        *,
        coalesce(term_months, term_max_months) as months,
        -- half of the term in years: a loan repaid in equal parts owes half on average
        months / 24.0 as half_term_years,
        -- what the loan costs besides its interest, a year and as a share of what is owed
        (
            fee_share + months * monthly_fee_share
            + (fee_money + months * monthly_fee_money) / nullif(amount, 0)
        ) / nullif(half_term_years, 0) as fee_rate,
        least(1, greatest(0, coalesce(amount_max / nullif(amount, 0) - 1, 1))) as amount_room,
        least(1, greatest(0, coalesce(term_max_months / nullif(term_months, 0) - 1, 1)))
            as term_room
    from priced_pairs

),

expected_spends as not materialized (

    select
        * exclude (amount_room, term_room),
        (1 - $amount_room_weight * (1 - amount_room))
        * (1 - $term_room_weight * (1 - term_room)) as person_fit,
        case price_model
            when 'cpl' then price
            when 'cpa' then price * p_approve
            when 'cps' then price * amount * p_approve * p_fund
        end as expected_spend
    from terms

),

value_components as not materialized (

    select
        *,
        expected_spend * exchange_rate as revenue,
        p_approve * p_fund * greatest(0, reference_apr - suggested_apr - fee_rate)
        * amount * half_term_years * exchange_rate * person_fit
        - (1 - p_approve) * $declined_cost as person_benefit,
        p_approve * p_fund * (
            (suggested_apr - $funding_cost) * half_term_years - pd * $loss_given_default
        ) * amount * exchange_rate
        - $application_cost as institution_margin
    from expected_spends

)

select
    *,
    -- whole ten-thousandths of the base currency: sums do not depend on their order
    round(
        $person_weight * person_benefit
        + $institution_weight * (institution_margin - revenue)
        + $platform_weight * revenue, 4
    ) as expected_value,
    cost_per_lead as expected_cost
from value_components
