{{ config(materialized="view") }}
-- One row per change of a lender's approval rate that was confirmed with the lender.

select
    institution_id,
    valid_from,
    valid_to

from {{ source("policy", "confirmed_changes") }}
