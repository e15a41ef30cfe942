-- Each day's number of offered products. A product is offered if it is open, or if its institution
-- has closed it by a declaration or stated its last day, also when its row is removed later. A
-- product that is closed for another reason, or whose row is missing although it was open, is not.

with states as (

    select
        day_on,
        institution_id,
        product_id,
        is_open or is_closed_by_declaration as is_offered,
        is_closed_by_declaration,
        least(valid_to, admitted_to) as ends_on,
        max(day_on) over (partition by institution_id, product_id) as last_on
    from catalogue

),

days as (select distinct day_on from catalogue),

withdrawn as (

    select
        days.day_on,
        count(*) as products
    from states
    inner join days on states.last_on < days.day_on
    where
        states.day_on = states.last_on
        and (states.is_closed_by_declaration or states.ends_on < days.day_on)
    group by days.day_on

),

offered as (

    select
        day_on,
        count(*) filter (where is_offered) as products
    from states
    group by day_on

)

select
    offered.day_on,
    offered.products + coalesce(withdrawn.products, 0) as offered_products
from offered
left join withdrawn on offered.day_on = withdrawn.day_on
order by offered.day_on
