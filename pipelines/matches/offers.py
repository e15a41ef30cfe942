"""A match seen from the lead's side, with the words that a person is shown, in two languages."""


def offers_sql(chosen: str, names: str, told: str, odds: str) -> str:
    """Return SQL for one row per match: the offer, ordered by lead and rank.

    Args:
        chosen: SQL table of the matches, with `currency`, `amount` and `term_months` of the lead.
        names: SQL table of `institution_id`, `product_id`, `institution_name`, `product_name`.
        told: SQL table of the reasons of the matches, as `told.of_matches` returns it.
        odds: SQL table of `match_id` and `odds_shown`, which is null where nothing may be told.
    """
    money = "currency || ' ' || format('{:,}', cast(round(amount) as bigint))"
    cost = "format('{:.2f}', suggested_apr * 100)"
    return f"""
        with counted_most as (
            select
                channel_id, lead_id, institution_id, product_id,
                string_agg(person_en, ', ' order by strength_rank) as counted_most_en,
                string_agg(person_zh, '、' order by strength_rank) as counted_most_zh
            from {told}
            where effect = 'raises'
            group by all
        )

        select
            channel_id, lead_id, rank, match_id, institution_id, product_id,
            institution_name, product_name, currency, amount, term_months, suggested_apr,
            odds_shown,
            product_name || ' of ' || institution_name || ': ' || {money}
            || coalesce(' over ' || term_months || ' months', '')
            || ' at about ' || {cost}
            || '% a year, all costs included. The lender decides and may ask for more.'
            || coalesce(
                ' Of 100 people whose request looked as likely, at least '
                || odds_shown || ' were approved.', ''
            )
            || coalesce(' What counted most: ' || counted_most_en || '.', '') as words,
            institution_name || ' ' || product_name || '：' || {money}
            || coalesce('，期限 ' || term_months || ' 个月', '')
            || '，年化综合成本约 ' || {cost}
            || '%（含全部费用）。是否放款由贷款机构决定，机构可能要求补充材料。'
            || coalesce('与您情况相近的申请，每100人中至少有 ' || odds_shown || ' 人获批。', '')
            || coalesce('主要因素：' || counted_most_zh || '。', '') as words_zh
        from {chosen}
        join {names} using (institution_id, product_id)
        left join counted_most using (channel_id, lead_id, institution_id, product_id)
        left join {odds} using (match_id)
        order by channel_id, lead_id, rank
    """
