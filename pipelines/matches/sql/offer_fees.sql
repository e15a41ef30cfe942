-- The fees of each offer of `offer_costs`, in the order in which they are charged, and their words.
-- A fee of 0 is none. `annual_rate` is what it costs a year as a share of the balance owed.
create or replace table offer_fees as
with

lines as (
    select
        offer_costs.match_id,
        offered.currency,
        mart_product_fees.* exclude (currency),
        coalesce(fee_names.name_en, replace(mart_product_fees.fee, '_', ' ')) as name_en,
        coalesce(fee_names.name_zh, mart_product_fees.fee) as name_zh,
        case mart_product_fees.basis
            when 'share_of_amount' then offer_costs.amount
            when 'fixed' then 1
            else
                case mart_product_fees.charged_when
                    when 'each_period' then offer_costs.balance_months / offer_costs.months
                    when 'at_end' then offer_costs.last_balance
                    else offer_costs.amount
                end
        end * if(mart_product_fees.charged_when = 'each_period', offer_costs.months, 1)
        * mart_product_fees.value as charged,
        offer_costs.balance_months / 12 as balance_years
    from offer_costs
    inner join offered using (match_id)
    inner join mart_product_fees
        on
            offered.institution_id = mart_product_fees.institution_id
            and offered.product_id = mart_product_fees.product_id
    left join fee_names on mart_product_fees.fee = fee_names.fee
    where mart_product_fees.value > 0
),

worded as (
    select
        *,
        case when not is_contingent then round(charged, 2) end as amount,
        case when not is_contingent then round(charged / balance_years, 6) end as annual_rate,
        format('{:.4g}', "value" * 100) || '%' as percent_text,
        currency || ' ' || format('{:,.2f}', "value") as money_text,
        list_position(['upfront', 'each_period', 'at_end', 'on_default'], charged_when) as place
    from lines
)

select
    match_id,
    list(
        struct_pack(
            fee := fee,
            basis := basis,
            "value" := "value",
            charged_when := charged_when,
            collector := collector,
            is_contingent := is_contingent,
            amount := amount,
            annual_rate := annual_rate
        ) order by is_contingent, place, fee, collector, basis, "value"
    ) as fees,
    string_agg(
        name_en || ' ' || currency || ' ' || format('{:,.2f}', amount) || ' ('
        || format('{:.2f}', annual_rate * 100) || '% a year), taken by ' || collector,
        '; ' order by place, fee, collector, basis, "value"
    ) filter (where not is_contingent) as certain_en,
    string_agg(
        name_zh || ' ' || currency || ' ' || format('{:,.2f}', amount) || '（年化 '
        || format('{:.2f}', annual_rate * 100) || '%），收取方：' || collector,
        '；' order by place, fee, collector, basis, "value"
    ) filter (where not is_contingent) as certain_zh,
    string_agg(
        name_en || ' ' || case basis
            when 'share_of_amount' then percent_text || ' of the amount'
            when 'share_of_balance' then percent_text || ' of what is owed'
            else money_text
        end || case charged_when
            when 'upfront' then ' before the loan is paid out'
            when 'each_period' then ' a month'
            when 'at_end' then ' with the last payment'
            else ' if you do not pay as agreed'
        end || ', taken by ' || collector,
        '; ' order by place, fee, collector, basis, "value"
    ) filter (where is_contingent) as contingent_en,
    string_agg(
        name_zh || case charged_when
            when 'upfront' then '（放款前）'
            when 'each_period' then '（每月）'
            when 'at_end' then '（末期还款时）'
            else '（未按约还款时）'
        end || case basis
            when 'share_of_amount' then '贷款金额的 ' || percent_text
            when 'share_of_balance' then '未还金额的 ' || percent_text
            else money_text
        end || '，收取方：' || collector,
        '；' order by place, fee, collector, basis, "value"
    ) filter (where is_contingent) as contingent_zh
from worded
group by match_id
