"""The columns of `marts/date=D/*.parquet`, as the tables of dbt publish them."""

import pyarrow as pa

TEXT, NUMBER, WHOLE, YES_NO = pa.string(), pa.float64(), pa.int64(), pa.bool_()
DAY, MOMENT, LIST = pa.date32(), pa.timestamp("us", tz="UTC"), pa.list_(pa.string())

LEAD_KEY = {"channel_id": TEXT, "lead_id": TEXT}
PRODUCT_KEY = {"institution_id": TEXT, "product_id": TEXT}

LEAD_FEATURES = {
    "region": TEXT,
    "employment": TEXT,
    "income_monthly": NUMBER,
    "debt_monthly": NUMBER,
    "bureau_score": NUMBER,
    "housing": TEXT,
    "amount": NUMBER,
    "currency": TEXT,
    "term_months": WHOLE,
    "purpose": TEXT,
    "age_years": WHOLE,
    "industry": TEXT,
    "business_age_years": NUMBER,
    "revenue_annual": NUMBER,
    "employees": WHOLE,
    "tax_paid_annual": NUMBER,
    "invoices_12m": WHOLE,
    "collateral_value": NUMBER,
    "loan_to_value": NUMBER,
    "loan_program": TEXT,
    "occupancy": TEXT,
    "dwelling": TEXT,
    "is_new_business": YES_NO,
    "is_franchise": YES_NO,
    "is_urban": YES_NO,
    "jobs_created": WHOLE,
    "jobs_retained": WHOLE,
    "is_revolving": YES_NO,
    "guaranteed_share": NUMBER,
    "debt_to_income": NUMBER,
    "amount_to_income": NUMBER,
    "amount_to_collateral": NUMBER,
    "amount_to_revenue": NUMBER,
    "supply_buyers": WHOLE,
    "supply_sellers": WHOLE,
    "supply_sales_12m": NUMBER,
    "supply_paid_late_share": NUMBER,
    "supply_buyers_late_share": NUMBER,
    "channel_leads_30d": WHOLE,
    "channel_decisions": WHOLE,
    "channel_approval_rate": NUMBER,
    "channel_funded_rate": NUMBER,
    "channel_cost_per_lead": NUMBER,
}

TERMS = {
    "amount_min": NUMBER,
    "amount_max": NUMBER,
    "term_min_months": WHOLE,
    "term_max_months": WHOLE,
    "apr_min": NUMBER,
    "apr_max": NUMBER,
    "pd_min": NUMBER,
    "pd_max": NUMBER,
    "price_model": TEXT,
    "price": NUMBER,
    "daily_quota": WHOLE,
    "daily_budget": NUMBER,
}

HISTORY = {
    "institution_decisions": WHOLE,
    "institution_approval_rate": NUMBER,
    "institution_approval_rate_90d": NUMBER,
    "institution_funded_rate": NUMBER,
    "product_decisions": WHOLE,
    "product_approval_rate": NUMBER,
    "product_funded_rate": NUMBER,
}

OUTCOME = {
    **LEAD_KEY,
    **PRODUCT_KEY,
    "event": TEXT,
    "event_at": MOMENT,
    "recorded_at": MOMENT,
    "known_at": MOMENT,
    "amount": NUMBER,
    "apr": NUMBER,
    "reason": TEXT,
}

SCHEMAS = {
    name: pa.schema(columns)
    for name, columns in {
        "leads": {
            **LEAD_KEY,
            "business_date": DAY,
            "captured_at": MOMENT,
            "segment": TEXT,
            "person_key": TEXT,
            "set_aside_stage": TEXT,
            "set_aside_detail": TEXT,
            "same_as_channel_id": TEXT,
            "same_as_lead_id": TEXT,
            "channels": LIST,
            "consent_scope": LIST,
            "suppressed_institutions": LIST,
            **LEAD_FEATURES,
        },
        "products": {
            **PRODUCT_KEY,
            "institution_kind": TEXT,
            "name": TEXT,
            "segment": TEXT,
            "currency": TEXT,
            **TERMS,
            "status": TEXT,
            "valid_from": DAY,
            "valid_to": DAY,
            "admitted_from": DAY,
            "admitted_to": DAY,
            "delivery": TEXT,
            "format": TEXT,
            "fields": LIST,
            "public_key": TEXT,
            "is_open": YES_NO,
            "closed_reason": TEXT,
            **HISTORY,
        },
        "product_rules": {**PRODUCT_KEY, "attribute": TEXT, "op": TEXT, "value": TEXT},
        "training_pairs": {
            **LEAD_KEY,
            **PRODUCT_KEY,
            "business_date": DAY,
            "segment": TEXT,
            **LEAD_FEATURES,
            "institution_kind": TEXT,
            **TERMS,
            **HISTORY,
            "rank": WHOLE,
            "suggested_apr": NUMBER,
        },
        "outcomes": OUTCOME,
        "unlinked_outcomes": {**OUTCOME, "why": TEXT},
        "channels": {
            "channel_id": TEXT,
            "leads_30d": WHOLE,
            "decisions": WHOLE,
            "approval_rate": NUMBER,
            "funded_rate": NUMBER,
            "cost_per_lead": NUMBER,
            "currency": TEXT,
        },
    }.items()
}
