-- Every pair with a positive probability of being a match, or in the draw; any other pair has none.
create view propensities as
select
    channel_id,
    lead_id,
    institution_id,
    product_id,
    coalesce(exploration_log.propensity, 1.0) as propensity,
    coalesce(exploration_log.is_planned, true) as is_planned,
    coalesce(exploration_log.is_made, true) as is_made,
    exploration_log.is_made is not null as is_randomised
from matches
full join exploration_log using (channel_id, lead_id, institution_id, product_id)
