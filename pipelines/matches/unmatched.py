"""Why a lead has no match: the stage at which its last product fell away, and the detail."""

REASONS = {
    "open": ("no_product", "no_open_product"),
    "consent": ("consent", "no_institution_in_scope"),
    "suppressed": ("suppressed", "every_institution"),
    "segment": ("no_product", "segment"),
    "currency": ("no_product", "currency"),
    "amount": ("no_product", "amount"),
    "term": ("no_product", "term"),
    "rules": ("no_product", "rules"),
    "price_cap": ("price_cap", "apr_above_cap"),
    "risk_band": ("risk_band", "pd_outside_band"),
    "contact_frequency": ("no_product", "contact_frequency"),
    "exclusive": ("no_product", "promised_elsewhere"),
    "low_value": ("low_value", "below_minimum"),
}
"""Step of the funnel after which no product was left -> stage and detail, in order of judgement."""


def unmatched_sql(leads: str, funnel: str, matches: str, short: str) -> str:
    """Return SQL for one row per lead without a match: its key, `stage` and `detail`.

    A lead that is the same person as another is not listed: the other stands for it.

    Args:
        leads: SQL table of the leads' mart.
        funnel: SQL table of what each lead had left after each step.
        matches: SQL table of the matches made.
        short: SQL table of leads with a pair that a budget or a share has no room for, and the
            `detail` to tell of it.
    """
    stages, details = (
        " ".join(f"when funnel.{step} = 0 then '{why[part]}'" for step, why in REASONS.items())
        for part in (0, 1)
    )
    return f"""
        select
            channel_id, lead_id,
            coalesce(exclusion_stage, case {stages} else 'quota' end) as stage,
            case
                when exclusion_stage is not null then exclusion_detail
                {details}
                else coalesce(short.detail, 'quota_full')
            end as detail
        from {leads} as leads
        left join {funnel} as funnel using (channel_id, lead_id)
        left join {short} as short using (channel_id, lead_id)
        where
            exclusion_stage is distinct from 'duplicate'
            and (channel_id, lead_id) not in (select (channel_id, lead_id) from {matches})
        order by channel_id, lead_id
    """
