-- The reasons of the matches with their ids, ordered as the matches are.
select
    chosen.match_id,
    match_reasons.*
from match_reasons
inner join chosen using (channel_id, lead_id, institution_id, product_id)
order by
    match_reasons.channel_id asc,
    match_reasons.lead_id asc,
    chosen.rank asc,
    match_reasons.effect desc,
    match_reasons.strength_rank asc
