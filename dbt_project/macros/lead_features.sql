{# The columns of a lead that a model or a product's rule may use, in the order of the marts.
   No protected attribute, no name and no identity number is among them. #}
{% macro lead_attributes() %}
    {{ return([
        "region", "employment", "income_monthly", "debt_monthly", "bureau_score", "housing",
        "amount", "currency", "term_months", "purpose", "age_years", "industry",
        "business_age_years", "revenue_annual", "employees", "tax_paid_annual", "invoices_12m",
        "collateral_value", "loan_to_value", "loan_program", "occupancy", "dwelling",
        "is_new_business", "is_franchise", "is_urban", "jobs_created", "jobs_retained",
        "is_revolving", "guaranteed_share",
    ]) }}
{% endmacro %}


{# All of a lead's features: what was sent, what is derived of it, and history as of the day. #}
{% macro lead_features() %}
    {{ return(lead_attributes() + [
        "debt_to_income", "amount_to_income", "amount_to_collateral", "amount_to_revenue",
        "supply_buyers", "supply_sellers", "supply_sales_12m", "supply_paid_late_share",
        "supply_buyers_late_share",
        "channel_leads_30d", "channel_decisions", "channel_approval_rate", "channel_funded_rate",
        "channel_cost_per_lead",
    ]) }}
{% endmacro %}


{# `names`, each taken from `alias`, as lines of a select. #}
{% macro from_alias(alias, names) -%}
    {%- for name in names %}
        {{ alias }}.{{ name }}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}
