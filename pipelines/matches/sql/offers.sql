-- The matches as offers to the lead, with the text that a person is shown in two languages.
with

main_reasons as (
    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        string_agg(person_en, ', ' order by strength_rank) as main_reasons_en,
        string_agg(person_zh, '、' order by strength_rank) as main_reasons_zh
    from match_reasons
    where effect = 'raises'
    group by channel_id, lead_id, institution_id, product_id
),

offers as (
    select
        explained.channel_id,
        explained.lead_id,
        explained.rank,
        explained.match_id,
        explained.institution_id,
        explained.product_id,
        product_names.institution_name,
        product_names.product_name,
        explained.currency,
        explained.amount,
        explained.term_months,
        explained.suggested_apr,
        odds_shown.odds_shown,
        main_reasons.main_reasons_en,
        main_reasons.main_reasons_zh,
        leads.amount is null as is_amount_assumed,
        explained.currency || ' '
        || format('{:,}', cast(round(explained.amount) as bigint)) as amount_text,
        format('{:.2f}', explained.suggested_apr * 100) as apr_percent
    from explained
    inner join product_names using (institution_id, product_id)
    inner join leads using (channel_id, lead_id)
    left join main_reasons using (channel_id, lead_id, institution_id, product_id)
    left join odds_shown using (match_id)
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
    product_name || ' of ' || institution_name || ': ' || amount_text
    || coalesce(' over ' || term_months || ' months', '')
    || ' at about ' || apr_percent
    || '% a year, all costs included. The lender decides and may ask for more.'
    || if(
        is_amount_assumed,
        ' You stated no amount, so this one is an example; you choose it with the lender.', ''
    )
    || coalesce(
        ' Of 100 people whose request looked as likely, at least '
        || odds_shown || ' were approved.', ''
    )
    || coalesce(' What counted most: ' || main_reasons_en || '.', '') as words,
    institution_name || ' ' || product_name || '：' || amount_text
    || coalesce('，期限 ' || term_months || ' 个月', '')
    || '，年化综合成本约 ' || apr_percent
    || '%（含全部费用）。是否放款由贷款机构决定，机构可能要求补充材料。'
    || if(is_amount_assumed, '您未填写申请金额，以上金额仅为示例，可与贷款机构商定。', '')
    || coalesce('与您情况相近的申请，每100人中至少有 ' || odds_shown || ' 人获批。', '')
    || coalesce('主要因素：' || main_reasons_zh || '。', '') as words_zh
from offers
order by channel_id, lead_id, rank
