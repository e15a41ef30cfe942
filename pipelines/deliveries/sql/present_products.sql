-- Products of `mart_products`, the catalogue of `$day`, as known on `$as_of`: the reason why a
-- product is closed now (null: open), and the most leads that it takes now.
--
-- `newest_products` are the marts of the last day that was built. Of the days after it every
-- careful statement counts by itself: a pause, an end, a smaller cap, an unreadable row. Of lists
-- and catalogues of `$day`, or of a date before, that became known later, the ones that open later
-- than `$day` count as well: the newest marts call open what was not open on `$day`. Where such a
-- catalogue has a rule, a stricter limit or a higher fee that the matches of `$day` were not judged
-- by, the product is closed.

create or replace table present_products as

with later_catalogues as (

    select
        institution_id,
        product_id,
        min(daily_quota) as daily_quota,
        min(monthly_quota) as monthly_quota,
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

stricter_terms as (

    select distinct
        late_products.institution_id,
        late_products.product_id
    from late_products
    inner join mart_products
        on
            late_products.institution_id = mart_products.institution_id
            and late_products.product_id = mart_products.product_id
    where
        late_products.landed_on <= $day
        and (
            late_products.segment <> mart_products.segment
            or late_products.currency <> mart_products.currency
            or late_products.amount_min > mart_products.amount_min
            or late_products.amount_max < mart_products.amount_max
            or late_products.term_min_months > mart_products.term_min_months
            or late_products.term_max_months < mart_products.term_max_months
            or late_products.apr_max < mart_products.apr_max
            or late_products.apr_min > mart_products.apr_min
            or late_products.pd_min > coalesce(mart_products.pd_min, 0)
            or late_products.pd_max < coalesce(mart_products.pd_max, 1)
            or late_products.target_cost_per_approval
            < coalesce(mart_products.target_cost_per_approval, 'infinity'::double)
            or late_products.target_cost_per_funded
            < coalesce(mart_products.target_cost_per_funded, 'infinity'::double)
        )

),

new_rules as (

    select distinct
        late_product_rules.institution_id,
        late_product_rules.product_id
    from late_product_rules
    left join mart_product_rules
        on
            late_product_rules.institution_id = mart_product_rules.institution_id
            and late_product_rules.product_id = mart_product_rules.product_id
            and late_product_rules.attribute = mart_product_rules.attribute
            and late_product_rules.op = mart_product_rules.op
            and late_product_rules.value = mart_product_rules.value
    where late_product_rules.landed_on <= $day and mart_product_rules.product_id is null

),

new_fees as (

    select distinct
        late_product_fees.institution_id,
        late_product_fees.product_id
    from late_product_fees
    left join mart_product_fees
        on
            late_product_fees.institution_id = mart_product_fees.institution_id
            and late_product_fees.product_id = mart_product_fees.product_id
            and late_product_fees.fee = mart_product_fees.fee
            and late_product_fees.basis = mart_product_fees.basis
            and late_product_fees."when" = mart_product_fees.charged_when
            and late_product_fees.is_contingent = mart_product_fees.is_contingent
            and late_product_fees.value <= mart_product_fees.value
    where late_product_fees.landed_on <= $day and mart_product_fees.product_id is null

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
        new_rules.product_id is not null as has_new_rules,
        new_fees.product_id is not null as has_new_fees,
        stricter_terms.product_id is not null as has_stricter_terms,
        least(
            coalesce(newest_products.daily_quota, mart_products.daily_quota),
            coalesce(later_catalogues.daily_quota, mart_products.daily_quota)
        ) as present_quota,
        -- what the smallest monthly quota leaves of the month of `$day`; null without one
        least(
            mart_products.monthly_quota,
            newest_products.monthly_quota,
            later_catalogues.monthly_quota
        ) - mart_products.month_leads as left_of_month,
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
    left join new_rules
        on
            mart_products.institution_id = new_rules.institution_id
            and mart_products.product_id = new_rules.product_id
    left join new_fees
        on
            mart_products.institution_id = new_fees.institution_id
            and mart_products.product_id = new_fees.product_id
    left join stricter_terms
        on
            mart_products.institution_id = stricter_terms.institution_id
            and mart_products.product_id = stricter_terms.product_id
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
        when has_new_rules then 'late_rules'
        when has_new_fees then 'late_fees'
        when has_stricter_terms then 'late_terms'
    end as closed_reason,
    greatest(
        0,
        least(
            planned_quota,
            present_quota,
            coalesce(affordable, planned_quota),
            coalesce(left_of_month, planned_quota)
        )
    ) as quota
from known
