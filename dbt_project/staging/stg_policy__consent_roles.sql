{{ config(materialized="view") }}
-- One row per jurisdiction and known role of a person who consents for a business.

select
    jurisdiction,
    role,
    may_consent

from {{ source("policy", "consent_roles") }}
