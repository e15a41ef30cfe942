-- One row per institution, product, price and currency with anything in the month.
-- Tables: `dues`, `bookings` (of the month), `month_facts` (match and fact: delivered, received,
-- returned, disputed, approved, funded).

with keyed as (

    select
        match_id,
        institution_id,
        product_id,
        price_model,
        price_text,
        currency
    from dues

),

counts as (

    select
        keyed.institution_id,
        keyed.product_id,
        keyed.price_model,
        keyed.price_text,
        keyed.currency,
        count(*) filter (where month_facts.fact = 'delivered') as delivered,
        count(*) filter (where month_facts.fact = 'received') as received,
        count(*) filter (where month_facts.fact = 'returned') as returned,
        count(*) filter (where month_facts.fact = 'disputed') as disputed,
        count(*) filter (where month_facts.fact = 'approved') as approved,
        count(*) filter (where month_facts.fact = 'funded') as funded
    from month_facts
    inner join keyed on month_facts.match_id = keyed.match_id
    group by all

),

sums as (

    select
        institution_id,
        product_id,
        price_model,
        price_text,
        currency,
        coalesce(sum(amount) filter (where kind = 'charge'), 0) as charges,
        coalesce(sum(amount) filter (where kind = 'credit'), 0) as credits,
        coalesce(sum(amount) filter (where kind like '%_correction'), 0) as adjustments
    from bookings
    group by all

),

lines as (

    select
        coalesce(counts.institution_id, sums.institution_id) as institution_id,
        coalesce(counts.product_id, sums.product_id) as product_id,
        coalesce(counts.price_model, sums.price_model) as price_model,
        coalesce(counts.price_text, sums.price_text) as price,
        coalesce(counts.currency, sums.currency) as currency,
        coalesce(counts.delivered, 0) as delivered,
        coalesce(counts.received, 0) as received,
        coalesce(counts.returned, 0) as returned,
        coalesce(counts.disputed, 0) as disputed,
        coalesce(counts.approved, 0) as approved,
        coalesce(counts.funded, 0) as funded,
        cast(coalesce(sums.charges, 0) as decimal(18, 2)) as charges,
        cast(coalesce(sums.credits, 0) as decimal(18, 2)) as credits,
        cast(coalesce(sums.adjustments, 0) as decimal(18, 2)) as adjustments
    from counts
    full join sums
        on
            counts.institution_id = sums.institution_id
            and counts.product_id = sums.product_id
            and counts.price_model = sums.price_model
            and counts.price_text = sums.price_text
            and counts.currency = sums.currency

)

select
    row_number() over (
        partition by institution_id order by product_id, price_model, price, currency
    ) as line,
    *,
    cast(charges + credits + adjustments as decimal(18, 2)) as amount_due
from lines
order by institution_id, line
