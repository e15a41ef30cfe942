{# The lead attributes that the channel sent, or ingest derived of its row alone. #}
{% macro sent_attributes() %}
    {{ return(lead_attributes() | reject("equalto", "business_age_years") | list) }}
{% endmacro %}


{# What is known of the partners of a business, and of its invoices and payments over time. #}
{% macro chain_features() %}
    {{ return([
        "supply_buyers_pay_late", "supply_buyers_pay_late_change", "supply_buyers_arrears_share",
        "supply_buyers_default_share", "supply_buyers_refused_share", "supply_buyers_risk",
        "supply_riskiest_buyer", "supply_buyers_usual_lateness", "supply_buyers_surge_share",
        "supply_buyers_concentration", "supply_largest_buyer_share", "supply_new_buyers_share",
        "supply_buyers_tenure_months", "supply_anchor_payments", "supply_confirmed_share",
        "supply_sellers_pay_late", "supply_sellers_arrears_share",
        "supply_sellers_default_share", "supply_sellers_refused_share", "supply_sellers_risk",
        "supply_sellers_concentration", "supply_largest_seller_share", "supply_paid_late_change",
        "supply_days_gap", "supply_months_without_sales", "supply_sales_growth",
    ]) }}
{% endmacro %}


{# A code of the chain below a buyer. It is not the buyer's keyed hash, so it leads back to nobody. #}
{% macro chain_code(buyer) -%}
    left(sha256({{ buyer }}), 16)
{%- endmacro %}


{# All features of a lead: its attributes, what is derived from them, and history as of the day. #}
{% macro lead_features() %}
    {{ return(lead_attributes() + [
        "debt_to_income", "amount_to_income", "amount_to_collateral", "amount_to_revenue",
        "supply_buyers", "supply_sellers", "supply_sales_12m", "supply_paid_late_share",
        "supply_buyers_late_share",
    ] + chain_features() + [
        "peers_arrears_rate",
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
