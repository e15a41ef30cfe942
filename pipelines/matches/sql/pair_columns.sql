-- The pairs from `$first` to before `$last` as codes and numbers; `offers_row` is the lead whose
-- offers the pair counts to. The hashes of lead and product make the tie-break key of a pair.
with

lead_keys as (
    select
        leads.channel_id,
        leads.lead_id,
        leads.lead_row,
        coalesce(shared_offers.first_lead_row, leads.lead_row) as offers_row,
        md5_number_lower(concat_ws(chr(31), $day, leads.channel_id, leads.lead_id)) as lead_hash
    from leads
    left join shared_offers using (lead_row)
),

product_keys as (
    select
        institution_id,
        product_id,
        product_row,
        dense_rank() over (order by institution_id) - 1 as institution_row,
        fees_to_expected,
        md5_number_lower(concat_ws(chr(31), institution_id, product_id)) as product_hash
    from products
)

select
    lead_keys.lead_row,
    lead_keys.offers_row,
    product_keys.institution_row,
    product_keys.product_row,
    pairs.expected_value,
    pairs.expected_spend,
    pairs.revenue,
    pairs.revenue * product_keys.fees_to_expected as adjusted_fee,
    pairs.p_approve,
    pairs.p_approve * pairs.p_fund as p_funded,
    lead_keys.lead_hash,
    product_keys.product_hash
from pairs
inner join lead_keys using (channel_id, lead_id)
inner join product_keys using (institution_id, product_id)
where pairs.row >= $first and pairs.row < $last
order by pairs.row
