-- One row per institution whose reported approval rate has changed suddenly in the outcomes known
-- on the business date, or on one of the days before that still holds back its outcomes.

select
    institution_id,
    known_on,
    earlier_decisions,
    earlier_rate,
    reported_decisions,
    reported_rate

from {{ ref("int_approval_rate_changes") }}
