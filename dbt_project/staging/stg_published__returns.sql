{{ config(materialized="view") }}
-- One row per match that was returned and accepted before the business date: it uses no quota and
-- no budget any more.

select distinct match_id

from {{ source("published", "return_decisions") }}
where "date" < {{ run_day() }} and decision = 'accepted'
