-- The receipts that institutions send for `versions`; what each does is drawn by seed and delivery.
-- A test delivery is always acknowledged: the platform calls until it is.

with drawn as (

    select
        *,
        ('0x' || substr(md5($seed || '/receipt/' || delivery_id || '/' || version), 1, 8))::ubigint
        / 4294967296.0 as draw,
        1 + cast(
            ('0x' || substr(md5($seed || '/hour/' || delivery_id), 1, 8))::ubigint % 10 as integer
        ) as hour
    from versions

),

answered as (

    select
        *,
        case
            when starts_with(delivery_id, 'test-') then 'received'
            when draw < $lost then 'lost'
            when draw < $lost + $late then 'late'
            when draw < $lost + $late + $wrong_hash then 'wrong_hash'
            when draw < $lost + $late + $wrong_hash + $refused then 'refused'
            else 'received'
        end as answer
    from drawn

),

dated as (

    select
        *,
        cast($day + case when answer = 'late' then $late_days else 1 end as date) as landed_on
    from answered
    where answer <> 'lost'

)

select
    institution_id as source,
    landed_on,
    delivery_id,
    version,
    case when answer = 'wrong_hash' then md5(sha256) || md5(delivery_id) else sha256 end as sha256,
    "rows",
    case when answer = 'refused' then 'nak' else 'ack' end as status,
    case when answer = 'refused' then 'file could not be read' end as reason,
    timezone($zone, cast(landed_on as timestamp) + hour * interval 1 hour) as "at"
from dated
order by source, landed_on, delivery_id, version
