-- The matches as offers to the lead, with the whole cost of the loan and the text that a person is
-- shown in two languages.
with

offers as (
    select
        offered.channel_id,
        offered.lead_id,
        offered.rank,
        offered.match_id,
        offered.institution_id,
        offered.product_id,
        product_names.institution_name,
        product_names.product_name,
        offered.currency,
        offered.amount,
        offered.term_months,
        offered.suggested_apr,
        odds_shown.odds_shown,
        offered.main_reasons_en,
        offered.main_reasons_zh,
        leads.amount is null as is_amount_assumed,
        offer_costs.repayment,
        offer_costs.months,
        round(offer_costs.instalment, 2) as instalment,
        round(offer_costs.last_instalment, 2) as last_instalment,
        round(offer_costs.interest, 2) as interest,
        round(offer_costs.fees, 2) as fees_in_any_case,
        round(offer_costs.interest + offer_costs.fees, 2) as total_cost,
        round(offer_costs.annual_cost, 6) as annual_cost,
        offer_costs.is_compound,
        coalesce(offer_fees.fees, []) as fees,
        offer_fees.certain_en,
        offer_fees.certain_zh,
        offer_fees.contingent_en,
        offer_fees.contingent_zh,
        offered.currency || ' '
        || format('{:,}', cast(round(offered.amount) as bigint)) as amount_text,
        format('{:.2f}', offered.suggested_apr * 100) as apr_percent,
        format('{:.2f}', offer_costs.annual_cost * 100) as cost_percent
    from offered
    inner join product_names using (institution_id, product_id)
    inner join leads using (channel_id, lead_id)
    inner join offer_costs on offered.match_id = offer_costs.match_id
    left join offer_fees on offered.match_id = offer_fees.match_id
    left join odds_shown on offered.match_id = odds_shown.match_id
),

repaid as (
    select
        *,
        currency || ' ' || format('{:,.2f}', instalment) as first_text,
        currency || ' ' || format('{:,.2f}', last_instalment) as last_text,
        case
            when months = 1 or repayment = 'bullet'
                then
                    'one payment of ' || last_text || ' after ' || months
                    || if(months = 1, ' month', ' months')
            when repayment = 'equal_principal'
                then
                    months || ' monthly payments, of ' || first_text || ' at first and '
                    || last_text || ' at the end'
            when repayment = 'interest_first'
                then 'interest of ' || first_text || ' a month, and ' || last_text || ' at the end'
            else months || ' monthly payments of ' || first_text
        end as repaid_en,
        case
            when months = 1 or repayment = 'bullet'
                then months || ' 个月后一次还款 ' || last_text
            when repayment = 'equal_principal'
                then '分 ' || months || ' 期按月还款，首期 ' || first_text || '，末期 ' || last_text
            when repayment = 'interest_first'
                then '每月付息 ' || first_text || '，末期还款 ' || last_text
            else '分 ' || months || ' 期，每月还款 ' || first_text
        end as repaid_zh
    from offers
)

select
    channel_id,
    lead_id,
    rank,
    match_id,
    institution_id,
    product_id,
    institution_name,
    product_name,
    currency,
    amount,
    is_amount_assumed,
    term_months,
    suggested_apr,
    odds_shown,
    repayment,
    months as cost_months,
    instalment,
    last_instalment,
    interest,
    fees,
    fees_in_any_case,
    total_cost,
    annual_cost,
    if(is_compound, 'compound', 'simple') as annualisation,
    product_name || ' of ' || institution_name || ': ' || amount_text
    || ' over ' || months || if(months = 1, ' month', ' months')
    || ' at about ' || apr_percent || '% interest a year. You repay ' || repaid_en || '.'
    || ' Interest: ' || currency || ' ' || format('{:,.2f}', interest) || '.'
    || coalesce(' Fees: ' || certain_en || '.', ' No fees.')
    || ' The whole cost is ' || currency || ' ' || format('{:,.2f}', total_cost) || ', or '
    || cost_percent || '% a year.'
    || coalesce(' In special cases only: ' || contingent_en || '.', '')
    || ' Nothing else is charged. The lender decides and may ask for more.'
    || if(
        is_amount_assumed,
        ' You stated no amount, so this one is an example; you choose it with the lender.', ''
    )
    || if(
        term_months is null,
        ' You stated no term, so this one is an example; you choose it with the lender.', ''
    )
    || coalesce(
        ' Of 100 people whose request looked as likely, at least '
        || odds_shown || ' were approved.', ''
    )
    || coalesce(' What counted most: ' || main_reasons_en || '.', '') as words,
    institution_name || ' ' || product_name || '：贷款本金 ' || amount_text
    || '，期限 ' || months || ' 个月，年利率约 ' || apr_percent || '%。' || repaid_zh || '。'
    || '利息合计 ' || currency || ' ' || format('{:,.2f}', interest) || '。'
    || coalesce('费用：' || certain_zh || '。', '无其他费用。')
    || '综合融资成本合计 ' || currency || ' ' || format('{:,.2f}', total_cost)
    || '，年化综合融资成本 ' || cost_percent || '%。'
    || coalesce('或有成本：' || contingent_zh || '。', '')
    || '除以上明示的成本外，不再收取其他任何费用。是否放款由贷款机构决定，机构可能要求补充材料。'
    || if(is_amount_assumed, '您未填写申请金额，以上金额仅为示例，可与贷款机构商定。', '')
    || if(term_months is null, '您未填写期限，以上期限仅为示例，可与贷款机构商定。', '')
    || coalesce('与您情况相近的申请，每100人中至少有 ' || odds_shown || ' 人获批。', '')
    || coalesce('主要因素：' || main_reasons_zh || '。', '') as words_zh,
    cast($schema_version as bigint) as schema_version
from repaid
order by channel_id, lead_id, rank
