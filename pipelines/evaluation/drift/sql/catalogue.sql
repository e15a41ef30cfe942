-- The products of each day of the window with their rules as one text. A product of an institution
-- that is on no list of admitted ones is not closed by a declaration: its row may be missing.

create or replace temp table catalogue as

with rules as (

    select
        "date" as day_on,
        institution_id,
        product_id,
        string_agg(
            attribute || ' ' || op || ' ' || "value",
            ';' order by attribute asc, op asc, "value" asc
        ) as rules
    from read_parquet($rules, hive_partitioning = true)
    group by all

),

products as (

    select *
    from read_parquet($products, hive_partitioning = true)

)

select
    products."date" as day_on,
    products.*,
    coalesce(
        products.closed_reason in (select unnest($declarations))
        and (products.closed_reason != 'not_admitted' or products.admitted_from is not null),
        false
    ) as is_closed_by_declaration,
    rules.rules
from products
left join rules
    on
        products."date" = rules.day_on
        and products.institution_id = rules.institution_id
        and products.product_id = rules.product_id
