-- Products whose stated maximum is above the cap of their kind, the farthest first.

select
    products.institution_id,
    products.product_id,
    products.institution_kind as kind,
    products.apr_max,
    price_caps.price_cap as cap,
    products.is_open
from day_products as products
inner join price_caps
    on
        products.institution_kind = price_caps.institution_kind
        and products.segment = price_caps.segment
        and products.currency = price_caps.currency
where products.apr_max > price_caps.price_cap
order by
    products.apr_max - price_caps.price_cap desc,
    products.institution_id asc,
    products.product_id asc
