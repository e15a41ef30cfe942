"""What a pair is worth: to Banyan, to the person and to the institution.

    value = revenue_weight x revenue + person_weight x benefit + institution_weight x margin

Each part is an expectation in the base currency and kept beside the value, so that other weights
need no new scoring (`revaluing`). Benefit and margin are interest over the life of the loan; a loan
repaid in equal parts owes half of its amount on average, hence amount x years / 2.

The benefit is what the person saves, by the odds of getting the loan, times how well the loan fits
the request: 1 where the product lends up to twice the amount and runs up to twice the term asked
for, less the nearer the request lies to the product's limits. A lead that names no term fits any.
"""

from expectations.policy_types import Value

VALUE_DIGITS = 4
"""Values are whole ten-thousandths of the base currency, so that sums of them are exact."""


def priced_sql(scored: str) -> str:
    """Return SQL that adds `suggested_apr` to the rows of table `scored`.

    The price lies between `apr_min` and the lower of `apr_max` and the price cap, where the lead's
    pd lies in the product's band; a product that states no band is priced for any pd.
    """
    return f"""
        select
            *,
            least(apr_ceiling, greatest(apr_min, round(
                apr_min + place_in_band * (apr_ceiling - apr_min), 4
            ))) as suggested_apr
        from (
            select
                *,
                least(apr_max, coalesce(price_cap, apr_max)) as apr_ceiling,
                case
                    when safest < riskiest
                    then least(1, greatest(0, (pd - safest) / (riskiest - safest)))
                    else 1
                end as place_in_band
            from (
                select *, coalesce(pd_min, 0) as safest, coalesce(pd_max, 1) as riskiest
                from {scored}
            )
        )
    """


def valued_sql(priced: str, policy: Value) -> str:
    """Return SQL that adds what each row of table `priced` is worth.

    Reads: `price_model`, `price`, `amount`, `amount_max`, `term_months`, `term_max_months` (for a
    lead that names no term), `pd`, `p_approve`, `p_fund`, `suggested_apr`, `reference_apr` (the
    cap, or the dearest loan offered), `exchange_rate` (to the base currency), `cost_per_lead`
    (in it).
    Adds: `expected_spend` (of the institution, in the product's currency); `person_fit` (up to
    1); `revenue`, `person_benefit`, `institution_margin`, `expected_value`, `expected_cost` in the
    base currency.
    """
    return f"""
        select
            *,
            round(
                {policy.revenue_weight} * revenue
                + {policy.person_weight} * person_benefit
                + {policy.institution_weight} * institution_margin, {VALUE_DIGITS}
            ) as expected_value,
            cost_per_lead as expected_cost
        from (
            select
                *,
                expected_spend * exchange_rate as revenue,
                p_approve * p_fund * greatest(0, reference_apr - suggested_apr)
                * amount * half_life * exchange_rate * person_fit as person_benefit,
                p_approve * p_fund * (
                    (suggested_apr - {policy.funding_cost}) * half_life
                    - pd * {policy.loss_given_default}
                ) * amount * exchange_rate as institution_margin
            from (
                select
                    *,
                    coalesce(term_months, term_max_months) / 24.0 as half_life,
                    (1 - {policy.amount_room_weight} * (1 - {_room("amount")}))
                    * (1 - {policy.term_room_weight} * (1 - {_room("term")})) as person_fit,
                    case price_model
                        when 'cpl' then price
                        when 'cpa' then price * p_approve
                        when 'cps' then price * amount * p_approve * p_fund
                    end as expected_spend
                from {priced}
            )
        )
    """


def _room(limit: str) -> str:
    """Return SQL of the room that a product leaves above what is asked, from 0 (none) to 1."""
    asked = {"amount": "amount", "term": "term_months"}[limit]
    most = {"amount": "amount_max", "term": "term_max_months"}[limit]
    return f"least(1, greatest(0, coalesce({most} / nullif({asked}, 0) - 1, 1)))"
