-- The matches of the people, with their last known decision. A decision counts only if its match is
-- old enough: fast decisions differ from slow ones.

create or replace temp table person_matches as
with answers as (
    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        bool_or(event = 'funded') as is_funded,
        arg_max(event, (recorded_at, event_at, event)) <> 'declined' as is_approved,
        arg_max(apr, (recorded_at, event_at, event)) as apr
    from window_outcomes
    where event in ('approved', 'declined', 'funded')
    group by channel_id, lead_id, institution_id, product_id
)

select
    people.person,
    people.segment,
    people.currency,
    matches.institution_id,
    matches."rank" as place,
    cast(matches.suggested_apr as decimal(18, 9)) as suggested_apr,
    cast(matches.p_approve as decimal(18, 9)) as p_approve,
    cast(matches.p_fund as decimal(18, 9)) as p_fund,
    answers.is_approved is not null and matches."date" <= $last_decided as is_decided,
    coalesce(answers.is_approved or answers.is_funded, false) as is_approved,
    coalesce(answers.is_funded, false) as is_funded,
    cast(answers.apr as decimal(18, 9)) as charged_apr
from window_matches as matches
inner join people
    on
        matches."date" = people."date"
        and matches.channel_id = people.channel_id
        and matches.lead_id = people.lead_id
left join answers
    on
        matches.channel_id = answers.channel_id
        and matches.lead_id = answers.lead_id
        and matches.institution_id = answers.institution_id
        and matches.product_id = answers.product_id
