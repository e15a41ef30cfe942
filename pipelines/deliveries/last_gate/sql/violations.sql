-- Violations of the outgoing files: institution, kind, detail and number of rows. A quota or a
-- budget that a file exceeds counts the rows above it, where any row of the product is new to the
-- institution.

with counted as (

    select
        institution_id,
        product_id,
        count(*) as leads
    from audited_rows
    group by institution_id, product_id
    having bool_or(is_judged)

),

limits as (

    select
        counted.institution_id,
        counted.product_id,
        counted.leads,
        min(catalogue.daily_quota) as daily_quota,
        min(
            case
                when catalogue.price_model = 'cpl' and catalogue.price > 0
                    then floor(catalogue.daily_budget / catalogue.price + 1e-6)
            end
        ) as daily_budget,
        min(catalogue.monthly_quota) - any_value(coalesce(month_use.leads, 0)) as monthly_quota,
        min(
            case
                when catalogue.price_model = 'cpl' and catalogue.price > 0
                    then floor(catalogue.monthly_budget / catalogue.price + 1e-6)
            end
        ) - any_value(coalesce(month_use.leads, 0)) as monthly_budget
    from counted
    inner join gate.catalogue
        on
            counted.institution_id = catalogue.institution_id
            and counted.product_id = catalogue.product_id
    left join gate.month_use
        on
            counted.institution_id = month_use.institution_id
            and counted.product_id = month_use.product_id
    group by counted.institution_id, counted.product_id, counted.leads

),

exceeded as (

    unpivot limits
    on daily_quota, daily_budget, monthly_quota, monthly_budget
    into name kind value most

),

found as (

    select
        institution_id,
        unnest(kinds) as kind,
        '' as detail
    from audited_rows

)

select
    institution_id,
    kind,
    detail,
    count(*) as violations
from found
group by institution_id, kind, detail
union all
select
    institution_id,
    'over_' || kind as kind,
    product_id as detail,
    cast(leads - greatest(most, 0) as bigint) as violations
from exceeded
where leads > most
order by institution_id, kind, detail
