-- The bookings of a month: what is due for each match by its end, less what earlier statements
-- booked. Tables: `dues`, `booked` (match, side and amount of all earlier months).

with sides as (

    select
        match_id,
        institution_id,
        delivered_on,
        product_id,
        price_model,
        price_text,
        currency,
        'charge' as side,
        charge_reason as reason,
        charge as amount
    from dues
    union all
    select
        match_id,
        institution_id,
        delivered_on,
        product_id,
        price_model,
        price_text,
        currency,
        'credit' as side,
        credit_reason as reason,
        credit as amount
    from dues

),

earlier as (

    select
        match_id,
        side,
        sum(amount) as amount
    from booked
    group by match_id, side

)

select
    sides.match_id,
    sides.institution_id,
    strftime(sides.delivered_on, '%Y%m%d') || '-' || sides.institution_id as delivery_id,
    sides.product_id,
    sides.price_model,
    sides.price_text,
    sides.currency,
    case
        when earlier.amount is null or earlier.amount = 0 then sides.side
        else sides.side || '_correction'
    end as kind,
    sides.reason,
    cast(sides.amount - coalesce(earlier.amount, 0) as decimal(18, 2)) as amount
from sides
left join earlier on sides.match_id = earlier.match_id and sides.side = earlier.side
where sides.amount <> coalesce(earlier.amount, 0)
order by sides.institution_id, sides.product_id, sides.match_id, sides.side
