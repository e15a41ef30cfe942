{# Moments and business dates. What is DuckDB's alone stands behind a dispatch: another engine
   adds its own `<engine>__…` beside it. #}

{% macro run_day() -%}
    cast('{{ var("business_date") }}' as date)
{%- endmacro %}


{# The first moment of a business date in the platform's time zone. #}
{% macro day_start(day) -%}
    {{ adapter.dispatch("day_start")(day) }}
{%- endmacro %}

{% macro duckdb__day_start(day) -%}
    timezone('{{ var("time_zone") }}', cast({{ day }} as timestamp))
{%- endmacro %}


{# The business date that a moment belongs to. #}
{% macro platform_date(moment) -%}
    {{ adapter.dispatch("platform_date")(moment) }}
{%- endmacro %}

{% macro duckdb__platform_date(moment) -%}
    cast(timezone('{{ var("time_zone") }}', {{ moment }}) as date)
{%- endmacro %}


{# The date so many days after `day`, or before it if negative. #}
{% macro add_days(day, days) -%}
    cast({{ dbt.dateadd("day", days, day) }} as date)
{%- endmacro %}
