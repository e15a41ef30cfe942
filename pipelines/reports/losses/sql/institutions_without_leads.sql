-- Institutions with a catalogue and no match on the day: why, and their matches of the day before.

with catalogue as (

    select
        institution_id,
        count(*) as products
    from read_parquet($products, hive_partitioning = false)
    group by institution_id

),

closed as (

    select
        institution_id,
        count(*) as products,
        string_agg(distinct reason, ', ' order by reason) as reasons
    from read_parquet($closed_products, hive_partitioning = false)
    group by institution_id

),

paired as (

    select
        institution_id,
        count(*) as pairs
    from read_parquet($pairs, hive_partitioning = false)
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
        when closed.products = catalogue.products then 'all products closed: ' || closed.reasons
        when paired.pairs is null then 'no lead fits its products'
        else paired.pairs || ' pairs, none of them in the plan'
    end as reason,
    coalesce(matched_before.matches, 0) as leads_before
from catalogue
left join closed on catalogue.institution_id = closed.institution_id
left join paired on catalogue.institution_id = paired.institution_id
left join matched_before on catalogue.institution_id = matched_before.institution_id
left join matched on catalogue.institution_id = matched.institution_id
where matched.institution_id is null
order by catalogue.institution_id
