-- The price cap of each kind of institution, segment and currency, beside what the catalogue states
-- and what the matches of the day suggest.

with priced as (
    select
        products.*,
        price_caps.price_cap,
        coalesce(products.apr_max > price_caps.price_cap, false) as is_above
    from day_products as products
    left join price_caps
        on
            products.institution_kind = price_caps.institution_kind
            and products.segment = price_caps.segment
            and products.currency = price_caps.currency
),

matched as (
    select
        matches.institution_id,
        matches.product_id,
        count(*) as matches,
        count(*) filter (where matches.suggested_apr > priced.price_cap) as above,
        max(matches.suggested_apr) as highest_apr
    from day_matches as matches
    inner join priced
        on
            matches.institution_id = priced.institution_id
            and matches.product_id = priced.product_id
    group by matches.institution_id, matches.product_id
)

select
    coalesce(priced.institution_kind, 'unknown') as kind,
    priced.segment,
    priced.currency,
    max(priced.price_cap) as cap,
    count(*) as products,
    count(*) filter (where priced.is_open) as open_products,
    max(priced.apr_max) as highest_stated,
    count(*) filter (where priced.is_above) as stated_above,
    count(*) filter (where priced.is_above and priced.is_open) as open_above,
    cast(coalesce(sum(matched.matches), 0) as bigint) as matches,
    max(matched.highest_apr) as highest_suggested,
    cast(coalesce(sum(matched.above), 0) as bigint) as matches_above
from priced
left join matched
    on priced.institution_id = matched.institution_id and priced.product_id = matched.product_id
group by priced.institution_kind, priced.segment, priced.currency
order by kind, priced.segment, priced.currency
