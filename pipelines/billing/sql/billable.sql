-- The delivered matches with price and currency of the product on the date of the match.

create or replace temp table billable as
select
    delivered_matches.match_id,
    delivered_matches.channel_id,
    delivered_matches.lead_id,
    delivered_matches.institution_id,
    delivered_matches.product_id,
    delivered_matches."date" as delivered_on,
    terms.price_model,
    terms.price,
    terms.currency,
    regexp_replace(cast(cast(terms.price as decimal(18, 6)) as varchar), '\.?0+$', '')
        as price_text
from delivered_matches
left join terms
    on
        delivered_matches.institution_id = terms.institution_id
        and delivered_matches.product_id = terms.product_id
        and delivered_matches."date" = terms."date"
