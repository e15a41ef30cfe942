-- Institutions with a catalogue and no match on the day: why, whether they have declared it, and
-- their matches of the day before. An institution declares that it takes no lead by closing each of
-- its products, or by a quota or budget that is used up (`product_limits`).

with products as (

    select
        institution_id,
        product_id,
        any_value(admitted_from) as admitted_from
    from read_parquet($products, hive_partitioning = false)
    group by institution_id, product_id

),

closed as (

    select
        institution_id,
        product_id,
        string_agg(distinct reason, ', ' order by reason) as reason
    from read_parquet($closed_products, hive_partitioning = false)
    group by institution_id, product_id

),

paired as (

    select
        institution_id,
        product_id,
        count(*) as pairs,
        min(expected_spend) as least_spend
    from read_parquet($pairs, hive_partitioning = false)
    group by institution_id, product_id

),

described as (

    select
        products.institution_id,
        closed.reason,
        closed.product_id is not null as is_closed,
        coalesce(
            closed.reason in (select unnest($declarations))
            and (closed.reason != 'not_admitted' or products.admitted_from is not null),
            false
        ) as is_declared,
        coalesce(limits.quota <= 0 or limits.budget <= 0, false)
        or coalesce(limits.budget < paired.least_spend, false) as is_used_up,
        coalesce(paired.pairs, 0) as pairs
    from products
    left join closed
        on
            products.institution_id = closed.institution_id
            and products.product_id = closed.product_id
    left join paired
        on
            products.institution_id = paired.institution_id
            and products.product_id = paired.product_id
    left join product_limits as limits
        on
            products.institution_id = limits.institution_id
            and products.product_id = limits.product_id

),

catalogue as (

    select
        institution_id,
        bool_and(is_closed) as is_closed,
        bool_and(is_closed or is_used_up) as is_used_up,
        bool_and(is_declared or is_used_up) as is_declared,
        string_agg(distinct reason, ', ' order by reason) as reasons,
        cast(sum(pairs) as bigint) as pairs
    from described
    group by institution_id

),

matched as (

    select distinct institution_id
    from read_parquet($matches, hive_partitioning = false)

),

matched_before as (

    select
        institution_id,
        count(*) as matches
    from read_parquet($matches_before, hive_partitioning = false)
    group by institution_id

)

select
    catalogue.institution_id,
    case
        when catalogue.is_closed then 'all products closed: ' || catalogue.reasons
        when catalogue.is_used_up then 'its quotas or budgets leave no lead for today'
        when catalogue.pairs = 0 then 'no lead fits its products'
        else catalogue.pairs || ' pairs, none of them in the plan'
    end as reason,
    catalogue.is_declared,
    catalogue.is_closed,
    catalogue.pairs,
    coalesce(matched_before.matches, 0) as leads_before
from catalogue
left join matched_before on catalogue.institution_id = matched_before.institution_id
left join matched on catalogue.institution_id = matched.institution_id
where matched.institution_id is null
order by catalogue.institution_id
