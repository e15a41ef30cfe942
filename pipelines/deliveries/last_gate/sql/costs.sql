-- What the loans of products cost whose whole cost is capped, for each term, at the highest rate.
--
-- At the rate of the cap, the payments of a loan of P have a present value of P x paid_share +
-- paid_money; the loan is within the cap where that is at most P. Balances and payments are closed
-- forms of the month.

create or replace table gate.costs as

with asked as (

    select distinct term_months as months from gate.leads
    where term_months is not null

),

lent as (

    select
        catalogue.judged_on,
        catalogue.institution_id,
        catalogue.product_id,
        catalogue.repayment,
        disclosures.* exclude (judged_on, institution_id, product_id),
        case
            when disclosures.is_compound then pow(1 + catalogue.apr_max, 1 / 12.0) - 1
            else catalogue.apr_max / 12
        end as rate,
        case
            when disclosures.is_compound then pow(1 + catalogue.cap, -1 / 12.0)
            else 1 / (1 + catalogue.cap / 12)
        end as discount,
        catalogue.term_min_months,
        catalogue.term_max_months
    from gate.catalogue
    inner join gate.disclosures
        on
            catalogue.judged_on = disclosures.judged_on
            and catalogue.institution_id = disclosures.institution_id
            and catalogue.product_id = disclosures.product_id
    where disclosures.is_capped and catalogue.cap is not null

),

termed as (

    select
        lent.*,
        asked.months
    from lent
    cross join asked
    union
    select
        lent.*,
        unnest(range(lent.term_min_months, lent.term_max_months + 1)) as months
    from lent

),

monthly as (

    select
        *,
        unnest(range(1, months + 1)) as place
    from termed

),

owed as (

    select
        *,
        case
            when repayment = 'interest_first' then 1
            when repayment = 'bullet' then pow(1 + rate, place - 1)
            when repayment = 'equal_principal' or rate = 0 then 1 - (place - 1.0) / months
            else (pow(1 + rate, months) - pow(1 + rate, place - 1)) / (pow(1 + rate, months) - 1)
        end as balance
    from monthly

),

paid as (

    select
        *,
        case
            when repayment = 'interest_first' then rate + if(place = months, 1, 0)
            when repayment = 'bullet' then if(place = months, pow(1 + rate, months), 0)
            when repayment = 'equal_principal' or rate = 0 then 1.0 / months + rate * balance
            else rate * pow(1 + rate, months) / (pow(1 + rate, months) - 1)
        end
        + month_share + month_balance_share * balance
        + if(place = months, last_share + last_balance_share * balance, 0) as share_paid,
        month_money + if(place = months, last_money, 0) as money_paid
    from owed

)

select
    judged_on,
    institution_id,
    product_id,
    months,
    months between any_value(term_min_months) and any_value(term_max_months) as is_lent,
    any_value(first_share) + sum(share_paid * pow(discount, place)) as paid_share,
    any_value(first_money) + sum(money_paid * pow(discount, place)) as paid_money
from paid
group by judged_on, institution_id, product_id, months
