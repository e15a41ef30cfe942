{{ config(materialized="view") }}
-- One row per consent text ever shown. A version has several: one by jurisdiction and language.

select
    version,
    sha256,
    valid_from,
    valid_to

from {{ source("policy", "consent_texts") }}
