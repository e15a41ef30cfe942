-- The leads that institutions return or dispute, and outcomes that name a match nobody received.

with drawn as (

    select
        match_id,
        institution_id,
        product_id,
        ('0x' || substr(md5($seed || '/return/' || match_id), 1, 8))::ubigint
        / 4294967296.0 as draw,
        ('0x' || substr(md5($seed || '/reason/' || match_id), 1, 8))::ubigint as reason_draw
    from matches

),

reported as (

    select
        *,
        case
            when draw < $returned then 'returned'
            when draw < $returned + $disputed then 'disputed'
            when draw < $returned + $disputed + $never_received then 'applied'
        end as event,
        cast($day + 2 + cast(reason_draw % 5 as integer) as date) as landed_on
    from drawn

)

select
    institution_id as source,
    landed_on,
    case when event = 'applied' then md5('never/' || match_id) else match_id end as match_id,
    product_id,
    event,
    timezone($zone, cast(landed_on as timestamp) + interval 9 hour) as event_at,
    timezone($zone, cast(landed_on as timestamp) + interval 10 hour) as recorded_at,
    case
        when event <> 'applied'
            then list_extract(
                [
                    'wrong_number', 'not_reachable', 'duplicate', 'existing_customer', 'false_data',
                    'not_as_agreed', 'changed their mind'
                ],
                1 + cast(reason_draw % 7 as integer)
            )
    end as reason
from reported
where event is not null
order by source, landed_on, match_id
