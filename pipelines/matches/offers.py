"""A match seen from the lead's side, with the words that a person is shown."""

import pyarrow as pa

from expectations import policy

MOST_WORDS = 3
"""So many reasons are told, the weightiest first; more would not be read."""


def reason_words() -> pa.Table:
    """Return `code` and the English `words` of every reason."""
    reasons = policy.reasons()
    return pa.table(
        {
            "code": pa.array([reason.code for reason in reasons], pa.string()),
            "words": pa.array([reason.person.en for reason in reasons], pa.string()),
        }
    )


def offers_sql(chosen: str, names: str, reason_words: str) -> str:
    """Return SQL for one row per match: the offer, ordered by lead and rank.

    Args:
        chosen: SQL table of the matches, with `currency`, `amount` and `term_months` of the lead.
        names: SQL table of `institution_id`, `product_id`, `institution_name`, `product_name`.
        reason_words: SQL table as `reason_words` returns it.
    """
    return f"""
        with counted_most as (
            select match_id, string_agg(words, ', ' order by place) as counted_most
            from (
                select
                    match_id, unnest(reasons[1:{MOST_WORDS}]) as code,
                    generate_subscripts(reasons[1:{MOST_WORDS}], 1) as place
                from {chosen}
            )
            join {reason_words} using (code)
            group by match_id
        )

        select
            channel_id, lead_id, rank, match_id, institution_id, product_id,
            institution_name, product_name, currency, amount, term_months, suggested_apr,
            product_name || ' of ' || institution_name || ': '
            || currency || ' ' || format('{{:,}}', cast(round(amount) as bigint))
            || coalesce(' over ' || term_months || ' months', '')
            || ' at about ' || format('{{:.2f}}', suggested_apr * 100)
            || '% a year, all costs included. The lender decides and may ask for more.'
            || coalesce(' What counted most: ' || counted_most || '.', '') as words
        from {chosen}
        join {names} using (institution_id, product_id)
        left join counted_most using (match_id)
        order by channel_id, lead_id, rank
    """
