-- One row per business, month of the invoices and date of knowing: how its count of purchases with
-- a known payment, and the sums of their late shares and of the log-odds of these, change on that
-- date.

with versions as (

    select * from {{ ref("int_supply__versions") }}
    where paid_late_share is not null

),

changes as (

    select
        buyer_sha256,
        month_start,
        known_on,
        1 as payments,
        {{ exact("paid_late_share") }} as late_sum,
        {{ exact(log_odds("paid_late_share")) }} as late_log_odds_sum
    from versions
    union all
    select
        buyer_sha256,
        month_start,
        replaced_on as known_on,
        -1 as payments,
        {{ exact("-paid_late_share") }} as late_sum,
        -{{ exact(log_odds("paid_late_share")) }} as late_log_odds_sum
    from versions
    where replaced_on is not null

)

select
    buyer_sha256,
    month_start,
    known_on,
    sum(payments) as payments,
    sum(late_sum) as late_sum,
    sum(late_log_odds_sum) as late_log_odds_sum

from changes
group by buyer_sha256, month_start, known_on
