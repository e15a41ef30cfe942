-- Training pairs, with the date on which the first outcome of each became known.

with first_known as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        cast(timezone($time_zone, min(known_at)) as date) as stored_on

    from outcomes
    group by channel_id, lead_id, institution_id, product_id

)

select
    training_pairs.*,
    first_known.stored_on

from training_pairs
left join first_known
    on
        training_pairs.channel_id = first_known.channel_id
        and training_pairs.lead_id = first_known.lead_id
        and training_pairs.institution_id = first_known.institution_id
        and training_pairs.product_id = first_known.product_id
