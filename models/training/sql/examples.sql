-- The pairs with a label that counts before $as_of. A decision counts once its lead is mature; in a
-- young market it counts sooner.
with market as (
    select
        case
            when $as_of - min(business_date) < $young_market_days then $young_market_maturity_days
            else $maturity_days
        end as maturity_days
    from pairs
),

known_labels as (
    select
        *,
        cast(timezone($time_zone, label_known_at) as date) as known_on
    from labels
)

select
    pairs.*,
    known_labels.* exclude (
        channel_id, lead_id, institution_id, product_id, label_known_at, known_on -- noqa: RF02
    ),
    greatest(
        known_labels.known_on, pairs.business_date + market.maturity_days
    ) as label_known_on
from pairs
inner join known_labels
    on
        pairs.channel_id = known_labels.channel_id
        and pairs.lead_id = known_labels.lead_id
        and pairs.institution_id = known_labels.institution_id
        and pairs.product_id = known_labels.product_id
cross join market
where greatest(known_labels.known_on, pairs.business_date + market.maturity_days) < $as_of
order by pairs.channel_id, pairs.lead_id, pairs.institution_id, pairs.product_id
