-- Every pair that the logged policy or the challenger could make a match, ordered by key.
with

challenger as (
    select
        pairs.channel_id,
        pairs.lead_id,
        pairs.institution_id,
        pairs.product_id,
        pairs.row,
        pairs.expected_value
    from pairs
    inner join challenger_rows using (row)
)

select
    leads.lead_row,
    coalesce(propensities.propensity, 0.0) as propensity,
    coalesce(propensities.is_made, false) as is_made,
    coalesce(propensities.is_planned, false) as is_planned,
    challenger.row is not null as is_challenger,
    coalesce(realised_values.expected_value, 0.0) as reward,
    coalesce(scored_values.expected_value, challenger.expected_value) as expected
from scored_values
full join challenger using (channel_id, lead_id, institution_id, product_id)
inner join leads using (channel_id, lead_id)
left join propensities using (channel_id, lead_id, institution_id, product_id)
left join realised_values using (channel_id, lead_id, institution_id, product_id)
order by channel_id, lead_id, institution_id, product_id
