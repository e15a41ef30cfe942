-- One row per channel and business date on which leads of it became known, with their number.

select
    channel_id,
    {{ platform_date("known_at") }} as known_on,
    count(*) as leads

from {{ ref("stg_lake__leads") }}
group by channel_id, {{ platform_date("known_at") }}
