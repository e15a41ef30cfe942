-- Products of `gate.catalogue` by the rules and the fees in force on each date by which they are
-- judged: whether a product states the costs that it must, whether its whole cost is capped,
-- and what its loans are charged in any case.

create or replace table gate.disclosures as

with senders as (

    select distinct
        judged_on,
        institution_id
    from gate.catalogue

),

fee_lists as (

    select
        senders.judged_on,
        senders.institution_id,
        max_by(
            struct_pack(landed_on := fees.landed_on, known_on := fees.known_on),
            struct_pack(landed_on := fees.landed_on, known_on := fees.known_on)
        ) as newest
    from senders
    inner join gate.product_fees as fees
        on
            senders.institution_id = fees.institution_id
            and senders.judged_on >= fees.known_on
    group by senders.judged_on, senders.institution_id

),

fees as (

    select
        fee_lists.judged_on,
        fees.institution_id,
        fees.product_id,
        fees.basis,
        fees.value,
        fees.is_contingent,
        fees."when" as charged
    from fee_lists
    inner join gate.product_fees as fees
        on
            fee_lists.institution_id = fees.institution_id
            and fee_lists.newest.landed_on = fees.landed_on
            and fee_lists.newest.known_on = fees.known_on

),

charged as (

    select
        judged_on,
        institution_id,
        product_id,
        bool_or(is_contingent) as has_contingent,
        bool_or(not is_contingent) as has_certain,
        coalesce(sum("value") filter (
            where not is_contingent and charged = 'upfront' and basis <> 'fixed'
        ), 0) as first_share,
        coalesce(sum("value") filter (
            where not is_contingent and charged = 'upfront' and basis = 'fixed'
        ), 0) as first_money,
        coalesce(sum("value") filter (
            where not is_contingent and charged = 'each_period' and basis = 'share_of_amount'
        ), 0) as month_share,
        coalesce(sum("value") filter (
            where not is_contingent and charged = 'each_period' and basis = 'share_of_balance'
        ), 0) as month_balance_share,
        coalesce(sum("value") filter (
            where not is_contingent and charged = 'each_period' and basis = 'fixed'
        ), 0) as month_money,
        coalesce(sum("value") filter (
            where not is_contingent and charged = 'at_end' and basis = 'share_of_amount'
        ), 0) as last_share,
        coalesce(sum("value") filter (
            where not is_contingent and charged = 'at_end' and basis = 'share_of_balance'
        ), 0) as last_balance_share,
        coalesce(sum("value") filter (
            where not is_contingent and charged = 'at_end' and basis = 'fixed'
        ), 0) as last_money
    from fees
    group by judged_on, institution_id, product_id

),

-- the latest rule on such a loan, of one date the one that names most
ruled as (

    select
        catalogue.judged_on,
        catalogue.institution_id,
        catalogue.product_id,
        max_by(cost_rules, struct_pack(a := cost_rules.valid_from, b := cost_rules.named)) as terms
    from gate.catalogue
    left join gate.admissions
        on
            catalogue.judged_on = admissions.judged_on
            and catalogue.institution_id = admissions.institution_id
    inner join gate.cost_rules
        on
            coalesce(cost_rules.kind, admissions.kind) is not distinct from admissions.kind
            and coalesce(cost_rules.segment, catalogue.segment) = catalogue.segment
            and coalesce(cost_rules.currency, catalogue.currency) = catalogue.currency
            and catalogue.judged_on between cost_rules.valid_from and cost_rules.valid_to
    group by catalogue.judged_on, catalogue.institution_id, catalogue.product_id

)

select
    ruled.judged_on,
    ruled.institution_id,
    ruled.product_id,
    ruled.terms.caps_whole_cost as is_capped,
    ruled.terms.is_compound as is_compound,
    (coalesce(charged.has_certain, false) or not ruled.terms.needs_certain)
    and (coalesce(charged.has_contingent, false) or not ruled.terms.needs_contingent)
        as states_costs,
    coalesce(charged.first_share, 0) as first_share,
    coalesce(charged.first_money, 0) as first_money,
    coalesce(charged.month_share, 0) as month_share,
    coalesce(charged.month_balance_share, 0) as month_balance_share,
    coalesce(charged.month_money, 0) as month_money,
    coalesce(charged.last_share, 0) as last_share,
    coalesce(charged.last_balance_share, 0) as last_balance_share,
    coalesce(charged.last_money, 0) as last_money
from ruled
left join charged
    on
        ruled.judged_on = charged.judged_on
        and ruled.institution_id = charged.institution_id
        and ruled.product_id = charged.product_id
