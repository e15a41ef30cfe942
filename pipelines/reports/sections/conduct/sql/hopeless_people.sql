-- Matched people, and the ones whose offers together are less likely to bring an approval than the
-- policy asks of one offer.

with people as (
    select
        matches.channel_id,
        matches.lead_id,
        1 - product(1 - matches.p_approve order by matches."rank", matches.institution_id) as odds,
        any_value(leads.least_odds) as least_odds
    from day_matches as matches
    inner join odds_of_leads as leads
        on matches.channel_id = leads.channel_id and matches.lead_id = leads.lead_id
    group by matches.channel_id, matches.lead_id
)

select
    count(*) as people,
    count(*) filter (where odds < least_odds) as hopeless,
    cast(min(least_odds) as double) as least_odds,
    min(odds) as lowest
from people
