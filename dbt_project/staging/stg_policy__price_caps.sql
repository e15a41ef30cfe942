{{ config(materialized="view") }}
-- One row per price cap ever in force; an empty criterion holds for any value.

select
    kind,
    segment,
    currency,
    valid_from,
    valid_to,
    cap

from {{ source("policy", "price_caps") }}
