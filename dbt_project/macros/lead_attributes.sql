{# The columns of a lead that models and product rules may use, in the order of the
   marts; no protected or personal one is among them.
   Derived from expectations/contracts/*.yml by `make docs`; edit the contracts instead. #}
{% macro lead_attributes() %}
    {{ return([
        "region",
        "employment",
        "income_monthly",
        "debt_monthly",
        "bureau_score",
        "housing",
        "amount",
        "currency",
        "term_months",
        "purpose",
        "age_years",
        "industry",
        "business_age_years",
        "revenue_annual",
        "employees",
        "tax_paid_annual",
        "invoices_12m",
        "collateral_value",
        "loan_to_value",
        "loan_program",
        "occupancy",
        "dwelling",
        "is_new_business",
        "is_franchise",
        "is_urban",
        "jobs_created",
        "jobs_retained",
        "is_revolving",
        "guaranteed_share",
    ]) }}
{% endmacro %}
