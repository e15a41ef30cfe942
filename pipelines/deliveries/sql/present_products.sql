-- Products of `mart_products`, the catalogue of `$day`, as known on `$as_of`: the reason why a
-- product is closed now (null: open), and the most leads that it takes now.
--
-- `newest_products` are the marts of the last day that was built. Of the days after it every
-- careful statement counts by itself: a pause, an end, a smaller cap, an unreadable row. Of lists
-- and catalogues of `$day`, or of a date before, that became known later, the ones that open later
-- than `$day` count as well: the newest marts call open what was not open on `$day`.

create or replace table present_products as

with later_catalogues as (

    select
        institution_id,
        product_id,
        min(daily_quota) as daily_quota,
        case
            when bool_or(status = 'paused') then 'paused'
            when bool_or(valid_to < $as_of) then 'expired'
        end as closed_reason
    from later_products
    group by institution_id, product_id

),

later_senders as (

    select distinct institution_id
    from later_products

),

later_lists as (

    select
        institution_id,
        bool_or(
            coalesce(admitted_to < $as_of, false) or coalesce(admitted_from > $as_of, false)
        ) as is_ended
    from later_institutions
    group by institution_id

),

late_lists as (

    select
        institution_id,
        bool_or(
            coalesce(admitted_to < $day, false) or coalesce(admitted_from > $day, false)
        ) as is_closed
    from late_institutions
    where landed_on <= $day
    group by institution_id

),

late_catalogues as (

    select
        institution_id,
        product_id,
        case
            when bool_or(valid_to < $day) then 'expired'
            when bool_or(valid_from > $day) then 'not_valid_yet'
        end as closed_reason
    from late_products
    where landed_on <= $day
    group by institution_id, product_id

),

unreadable as (

    select distinct coalesce(nullif(trim(institution_id), ''), source) as institution_id
    from later_restrictions
    where "action" in ('close_product', 'close_institution')

),

known as (

    select
        mart_products.institution_id,
        mart_products.product_id,
        mart_products.daily_quota as planned_quota,
        newest_products.product_id is not null
        and (later_senders.institution_id is null or later_catalogues.product_id is not null)
            as is_in_catalogue,
        newest_products.is_open as is_open,
        newest_products.closed_reason as newest_reason,
        coalesce(later_lists.is_ended, false)
        or coalesce(late_lists.is_closed, false) as is_ended,
        coalesce(later_catalogues.closed_reason, late_catalogues.closed_reason) as later_reason,
        unreadable.institution_id is not null as is_unreadable,
        least(
            coalesce(newest_products.daily_quota, mart_products.daily_quota),
            coalesce(later_catalogues.daily_quota, mart_products.daily_quota)
        ) as present_quota,
        case
            when newest_products.price_model = 'cpl' and newest_products.price > 0
                then floor(newest_products.daily_budget / newest_products.price + 1e-9)
        end as affordable
    from mart_products
    left join newest_products
        on
            mart_products.institution_id = newest_products.institution_id
            and mart_products.product_id = newest_products.product_id
    left join later_catalogues
        on
            mart_products.institution_id = later_catalogues.institution_id
            and mart_products.product_id = later_catalogues.product_id
    left join late_catalogues
        on
            mart_products.institution_id = late_catalogues.institution_id
            and mart_products.product_id = late_catalogues.product_id
    left join late_lists on mart_products.institution_id = late_lists.institution_id
    left join later_senders on mart_products.institution_id = later_senders.institution_id
    left join later_lists on mart_products.institution_id = later_lists.institution_id
    left join unreadable on mart_products.institution_id = unreadable.institution_id
    where cast($day as date) < cast($as_of as date)

)

select
    institution_id,
    product_id,
    case
        when is_ended then 'not_admitted'
        when not is_in_catalogue then 'not_in_catalogue'
        when not is_open then coalesce(newest_reason, 'closed')
        when later_reason is not null then later_reason
        when is_unreadable then 'unreadable_restriction'
    end as closed_reason,
    least(planned_quota, present_quota, coalesce(affordable, planned_quota)) as quota
from known
