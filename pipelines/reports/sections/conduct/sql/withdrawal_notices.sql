-- How fast withdrawals after delivery were honoured: days from the person's word to the notice, and
-- from the notice to its receipt, by institution. A notice has the name notice-DATE-INSTITUTION.
-- An order that ingest derived, such as from a copy of a lead, holds since 1970: when the person
-- asked is not known, so it counts for no days.

with matches as (
    select
        institution_id,
        "date" as noticed_on,
        count(*) as people,
        min(deadline) as deadline,
        max("date" - nullif(effective_on, date '1970-01-01')) as longest,
        sum("date" - nullif(effective_on, date '1970-01-01')) as days_to_notice,
        count(nullif(effective_on, date '1970-01-01')) as timed
    from noticed
    group by institution_id, "date"
),

answers as (
    select
        institution_id,
        delivery_id,
        min(cast(timezone($zone, "at") as date)) as received_on
    from answered
    where judgement = 'received'
    group by institution_id, delivery_id
)

select
    matches.institution_id,
    count(*) as notices,
    cast(sum(matches.people) as bigint) as people,
    sum(matches.days_to_notice) / nullif(sum(matches.timed), 0) as mean_days_to_notice,
    cast(max(matches.longest) as bigint) as longest_days_to_notice,
    count(answers.received_on) as acknowledged,
    cast(max(answers.received_on - matches.noticed_on) as bigint) as longest_days_to_receipt,
    count(*) filter (where answers.received_on > matches.deadline) as acknowledged_late,
    count(*) filter (where answers.received_on is null) as open,
    count(*) filter (where answers.received_on is null and matches.deadline < $day) as overdue,
    cast(
        min(matches.deadline) filter (where answers.received_on is null) as varchar
    ) as next_deadline
from matches
left join answers
    on
        matches.institution_id = answers.institution_id
        and answers.delivery_id
        = 'notice-' || strftime(matches.noticed_on, '%Y-%m-%d') || '-' || matches.institution_id
group by matches.institution_id
order by overdue desc, open desc, matches.institution_id asc
