-- Open products of each day and the mean of their highest annual cost.

select
    day_on,
    count(*) as open_products,
    cast(avg(cast(apr_max as decimal(18, 6))) as double) as highest_annual_cost
from catalogue
where is_open
group by day_on
order by day_on
