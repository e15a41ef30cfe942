-- Price suggested for each pair of `scored_pairs`: where the lead's pd lies in the product's band.
--
-- It lies between `apr_min` and the lower of `apr_max` and the price cap. A product without a band
-- is priced for any pd. A price of many digits is not rounded out of its limits.

with bands as not materialized (

    select
        *,
        coalesce(pd_min, 0) as band_low,
        coalesce(pd_max, 1) as band_high,
        least(apr_max, coalesce(price_cap, apr_max)) as apr_ceiling
    from scored_pairs

),

positions as not materialized (

    select
        *,
        case
            when band_low < band_high
                then least(1, greatest(0, (pd - band_low) / (band_high - band_low)))
            else 1
        end as band_position
    from bands

)

select
    * exclude (band_low, band_high, apr_ceiling, band_position),
    least(
        apr_ceiling,
        greatest(apr_min, round(apr_min + band_position * (apr_ceiling - apr_min), 4))
    ) as suggested_apr
from positions
