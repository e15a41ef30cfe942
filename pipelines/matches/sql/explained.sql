-- The matches with the codes of the reasons for each, strongest first.
create or replace table explained as
with

codes as (
    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        list(code order by strength_rank) as reasons
    from match_reasons
    where effect = 'raises'
    group by channel_id, lead_id, institution_id, product_id
)

select
    chosen.*,
    codes.reasons
from chosen
inner join codes using (channel_id, lead_id, institution_id, product_id)
