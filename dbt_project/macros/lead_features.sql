{# The lead attributes that the channel sent, or ingest derived of its row alone. #}
{% macro sent_attributes() %}
    {{ return(lead_attributes() | reject("equalto", "business_age_years") | list) }}
{% endmacro %}


{# All features of a lead: its attributes, what is derived from them, and history as of the day. #}
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
