-- Open products with rules of their own and no pair, though at least $min_leads leads to match are
-- of their segment and currency and are matched at an amount and a term that they offer.

with closed as (

    select
        institution_id,
        product_id
    from read_parquet($closed_products, hive_partitioning = false)

),

paired as (

    select distinct
        institution_id,
        product_id
    from read_parquet($pairs, hive_partitioning = false)

),

restricted as (

    select
        institution_id,
        product_id,
        string_agg(distinct attribute, ', ' order by attribute) as attributes
    from read_parquet($product_rules, hive_partitioning = false)
    group by institution_id, product_id

),

candidates as (

    select
        products.institution_id,
        products.product_id,
        restricted.attributes,
        products.segment,
        products.currency,
        products.amount_min,
        products.amount_max,
        products.term_min_months,
        products.term_max_months
    from read_parquet($products, hive_partitioning = false) as products
    inner join restricted using (institution_id, product_id)
    anti join paired using (institution_id, product_id)
    anti join closed using (institution_id, product_id)
    where products.is_open

)

select
    candidates.institution_id,
    candidates.product_id,
    count(*) as leads,
    any_value(candidates.attributes) as attributes
from candidates
inner join leads_to_match
    on
        candidates.segment = leads_to_match.segment
        and candidates.currency = leads_to_match.currency
        and leads_to_match.amount between candidates.amount_min and candidates.amount_max
        and (
            leads_to_match.term_months is null
            or leads_to_match.term_months
            between candidates.term_min_months and candidates.term_max_months
        )
group by candidates.institution_id, candidates.product_id
having count(*) >= $min_leads
order by candidates.institution_id, candidates.product_id
