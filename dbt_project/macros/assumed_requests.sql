{# What is assumed of a lead without a currency or an amount, by
   expectations/policy/assumed_requests.yml. The first entry that holds counts; the policy sorts them. #}
{% macro stated_currency() -%}
    {%- set entries = var("channel_currencies") -%}
    coalesce(
        currency,
        {% if entries -%}
        case
            {%- for entry in entries %}
                when {{ holds_on_date(entry) }} then '{{ entry.currency }}'
            {%- endfor %}
        end
        {%- else -%} null {%- endif %}
    )
{%- endmacro %}


{# The amount at which a lead is matched; null where none is stated or assumed. `currency` is that of
   the lead, with what is assumed of it. #}
{% macro matched_amount() -%}
    {%- set entries = var("assumed_amounts") -%}
    coalesce(
        amount,
        {% if entries -%}
        case
            {%- for entry in entries %}
                when
                    {{ holds_on_date(entry) }}
                    and segment = '{{ entry.segment }}'
                    and currency = '{{ entry.currency }}'
                    then cast('{{ entry.amount }}' as double)
            {%- endfor %}
        end
        {%- else -%} null {%- endif %}
    )
{%- endmacro %}


{% macro holds_on_date(entry) -%}
    business_date >= date '{{ entry.valid_from }}'
    {%- if entry.channel_id %} and channel_id = '{{ entry.channel_id | replace("'", "''") }}'{% endif %}
{%- endmacro %}
