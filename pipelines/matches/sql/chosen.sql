-- The day's matches with id, rank, shadow prices and propensity. All matches of a lead, explored
-- ones too, are ranked by the person's own expected benefit: 1 is the person's best. The fee has no
-- part in it.
create or replace table chosen as
select
    pairs.*,
    leads.lead_row,
    products.product_row,
    product_prices.price_of_quota,
    match_rows.explored,
    match_rows.propensity,
    make_match_id(
        $day, pairs.channel_id, pairs.lead_id, pairs.institution_id, pairs.product_id
    ) as match_id,
    row_number() over (
        partition by leads.lead_row
        order by pairs.person_benefit desc, pairs.p_approve desc, products.product_row asc
    ) as rank
from pairs
inner join match_rows using (row)
inner join leads using (channel_id, lead_id)
inner join products using (institution_id, product_id)
inner join product_prices using (product_row)
