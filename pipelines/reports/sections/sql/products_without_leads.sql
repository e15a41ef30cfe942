-- Products of the day's catalogue without a match: the code of the first reason that holds, the
-- number of leads or pairs that it is about, and a detail. `cost_rules` has the legal cap of each
-- kind of institution, segment and currency, `leads_to_match` the least odds of an approval,
-- `product_limits` quota and budget.

with matched as (

    select distinct
        institution_id,
        product_id
    from read_parquet($matches, hive_partitioning = false)

),

stated_lines as (

    select
        institution_id,
        product_id,
        list(distinct if(is_contingent, 'contingent', 'certain')) as fee_lines
    from product_fees
    group by institution_id, product_id

),

catalogue as (

    select
        products.*,
        cost_rules.price_cap,
        case when cost_rules.caps_whole_cost then products.apr_max else products.apr_min end
            as capped_rate,
        list_has_all(coalesce(stated_lines.fee_lines, []), coalesce(cost_rules.fee_lines, []))
            as states_costs
    from read_parquet($products, hive_partitioning = false) as products
    left join cost_rules
        on
            products.institution_kind = cost_rules.institution_kind
            and products.segment = cost_rules.segment
            and products.currency = cost_rules.currency
    left join stated_lines
        on
            products.institution_id = stated_lines.institution_id
            and products.product_id = stated_lines.product_id
    anti join matched
        on
            products.institution_id = matched.institution_id
            and products.product_id = matched.product_id

),

closed as (

    select
        institution_id,
        product_id,
        reason
    from read_parquet($closed_products, hive_partitioning = false)

),

paired as (

    select
        pairs.institution_id,
        pairs.product_id,
        count(*) as pairs,
        count(*) filter (where pairs.p_approve >= leads_to_match.least_odds) as likely,
        count(*) filter (
            where pairs.expected_value >= $minimum_value
            and pairs.p_approve >= leads_to_match.least_odds
        ) as valuable,
        min(pairs.expected_spend) as least_spend
    from read_parquet($pairs, hive_partitioning = false) as pairs
    semi join catalogue
        on
            pairs.institution_id = catalogue.institution_id
            and pairs.product_id = catalogue.product_id
    left join leads_to_match
        on pairs.channel_id = leads_to_match.channel_id and pairs.lead_id = leads_to_match.lead_id
    group by pairs.institution_id, pairs.product_id

),

unpaired as (

    select catalogue.*
    from catalogue
    anti join closed
        on
            catalogue.institution_id = closed.institution_id
            and catalogue.product_id = closed.product_id
    anti join paired
        on
            catalogue.institution_id = paired.institution_id
            and catalogue.product_id = paired.product_id

),

asked as (

    select
        unpaired.institution_id,
        unpaired.product_id,
        count(*) as of_segment,
        count(*) filter (where leads_to_match.currency = unpaired.currency) as of_currency,
        count(*) filter (
            where leads_to_match.currency = unpaired.currency
            and leads_to_match.amount between unpaired.amount_min and unpaired.amount_max
        ) as of_amount,
        count(*) filter (
            where leads_to_match.currency = unpaired.currency
            and leads_to_match.amount between unpaired.amount_min and unpaired.amount_max
            and (
                leads_to_match.term_months is null
                or leads_to_match.term_months
                between unpaired.term_min_months and unpaired.term_max_months
            )
        ) as of_term
    from unpaired
    inner join leads_to_match on unpaired.segment = leads_to_match.segment
    group by unpaired.institution_id, unpaired.product_id

),

near_misses_by_attribute as (

    select
        institution_id,
        product_id,
        attribute as near_attribute,
        count(*) as leads
    from read_parquet($near_misses, hive_partitioning = false)
    group by institution_id, product_id, near_attribute

),

near_misses as (

    select
        institution_id,
        product_id,
        near_attribute,
        leads
    from near_misses_by_attribute
    qualify
        row_number() over (
            partition by institution_id, product_id order by leads desc, near_attribute asc
        ) = 1

),

reasons as (

    select
        catalogue.institution_id,
        catalogue.product_id,
        case
            when closed.reason is not null then 'closed'
            when limits.quota <= 0 or catalogue.daily_quota <= 0 then 'no_quota'
            when limits.budget <= 0 then 'no_budget'
            when limits.budget < paired.least_spend then 'small_budget'
            when paired.pairs is not null and paired.likely = 0 then 'low_odds'
            when paired.pairs is not null and paired.valuable = 0 then 'low_value'
            when paired.pairs is not null then 'other_offers'
            when (select count(*) from leads_to_match) = 0 then 'no_leads'
            when asked.of_segment is null then 'segment'
            when asked.of_currency = 0 then 'currency'
            when asked.of_amount = 0 then 'amount'
            when asked.of_term = 0 then 'term'
            when not catalogue.states_costs then 'costs_not_stated'
            when catalogue.capped_rate > catalogue.price_cap then 'price_cap'
            when near_misses.near_attribute is not null then 'own_rule'
            else 'several_rules'
        end as reason,
        closed.reason as closed_reason,
        catalogue.segment,
        catalogue.currency,
        near_misses.near_attribute,
        near_misses.leads as near_leads,
        paired.pairs,
        paired.valuable,
        asked.of_segment,
        asked.of_currency,
        asked.of_amount,
        asked.of_term
    from catalogue
    left join closed
        on
            catalogue.institution_id = closed.institution_id
            and catalogue.product_id = closed.product_id
    left join product_limits as limits
        on
            catalogue.institution_id = limits.institution_id
            and catalogue.product_id = limits.product_id
    left join paired
        on
            catalogue.institution_id = paired.institution_id
            and catalogue.product_id = paired.product_id
    left join asked
        on
            catalogue.institution_id = asked.institution_id
            and catalogue.product_id = asked.product_id
    left join near_misses
        on
            catalogue.institution_id = near_misses.institution_id
            and catalogue.product_id = near_misses.product_id

)

select
    institution_id,
    product_id,
    reason,
    case reason
        when 'low_odds' then pairs
        when 'low_value' then pairs
        when 'small_budget' then pairs
        when 'other_offers' then valuable
        when 'currency' then of_segment
        when 'amount' then of_currency
        when 'term' then of_amount
        when 'costs_not_stated' then of_term
        when 'price_cap' then of_term
        when 'own_rule' then near_leads
        when 'several_rules' then of_term
    end as leads,
    case reason
        when 'closed' then closed_reason
        when 'segment' then segment
        when 'currency' then currency
        when 'own_rule' then near_attribute
    end as detail
from reasons
order by reason asc, institution_id asc, product_id asc
