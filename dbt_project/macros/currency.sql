{# An amount in the base currency of expectations/policy/currencies.yml, at the rates of the business
   date; null in a currency without a rate. #}
{% macro in_base_currency(amount, currency) -%}
    {{ amount }} * case {{ currency }}
        {%- for entry in var("currency_rates") %}
            when '{{ entry.currency }}' then cast('{{ entry.rate }}' as double)
        {%- endfor %}
    end
{%- endmacro %}
