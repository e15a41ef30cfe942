-- The pairs whose match was decided by the draw, by key.
select
    pairs.channel_id,
    pairs.lead_id,
    pairs.institution_id,
    pairs.product_id,
    drawn_rows.is_planned,
    drawn_rows.propensity,
    drawn_rows.is_made,
    pairs.expected_value
from pairs
inner join drawn_rows using (row)
order by row
