-- Odds that earlier offers showed ("at least n of 100"), beside what happened to the decided ones.

with answers as (
    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        arg_max(event, (recorded_at, event_at, event)) <> 'declined' as is_approved
    from outcomes
    where event in ('approved', 'declined', 'funded')
    group by channel_id, lead_id, institution_id, product_id
)

select
    cast(floor(offers.odds_shown / 10) * 10 as bigint) as band,
    count(*) as offers,
    sum(offers.odds_shown) / count(*) / 100 as mean_shown,
    count(answers.is_approved) as decided,
    count(*) filter (where answers.is_approved) as approved
from earlier_offers as offers
left join answers
    on
        offers.channel_id = answers.channel_id
        and offers.lead_id = answers.lead_id
        and offers.institution_id = answers.institution_id
        and offers.product_id = answers.product_id
where offers.odds_shown is not null
group by band
order by band
