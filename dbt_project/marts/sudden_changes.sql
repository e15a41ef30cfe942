-- One row per institution and date that holds back its outcomes: the reported approval rate has
-- changed suddenly, or is far from what was predicted for a lender without a rate of its own.

select
    institution_id,
    known_on,
    compared_with,
    earlier_decisions,
    earlier_rate,
    reported_decisions,
    reported_rate

from {{ ref("int_approval_rate_changes") }}
