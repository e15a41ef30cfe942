{{ config(materialized="view") }}
-- One row per match that an institution received before the business date: the only matches that it
-- can report outcomes of.

select distinct
    match_id,
    channel_id,
    lead_id,
    institution_id,
    product_id

from {{ source("published", "delivered") }}
where "date" < {{ run_day() }}
