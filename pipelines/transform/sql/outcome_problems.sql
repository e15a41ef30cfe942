-- Outcomes taken in on the day that don't count, by institution and kind of problem.

with judged as (

    select
        institution_id,
        unlinked_reason,
        case
            when unlinked_reason is null or unlinked_reason = 'unconfirmed_change' then null
            when
                unlinked_reason in (
                    'in_future', 'before_delivery', 'unknown_product', 'rate_over_cap',
                    'rate_over_product', 'other_currency', 'amount_outside_product',
                    'impossible_order'
                )
                then 'outcomes_implausible'
            else 'outcomes_not_received'
        end as problem,
        count(*) over (partition by institution_id) as sent
    from outcome_receipts

),

by_reason as (

    select
        institution_id,
        problem,
        unlinked_reason,
        sent,
        count(*) as rows_of_reason
    from judged
    where problem is not null
    group by institution_id, problem, unlinked_reason, sent

)

select
    problem,
    institution_id,
    cast(sum(rows_of_reason) as bigint) as rows_ignored,
    sent,
    string_agg(
        unlinked_reason || ' ' || rows_of_reason,
        ', ' order by rows_of_reason desc, unlinked_reason asc
    ) as reasons
from by_reason
group by problem, institution_id, sent
having sum(rows_of_reason) >= $least_rows or sum(rows_of_reason) >= $least_share * sent
order by problem, institution_id
