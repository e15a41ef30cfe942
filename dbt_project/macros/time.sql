{# Moments and business dates. SQL that only DuckDB has is in macros/ and nowhere else, so for
   another engine only these files change. #}

{% macro run_day() -%}
    cast('{{ var("business_date") }}' as date)
{%- endmacro %}


{# The first moment of a business date in the platform's time zone. Where clocks are put back at one
   o'clock, midnight comes twice, and DuckDB takes the second: so an hour after 23:00 counts. #}
{% macro day_start(day) -%}
    least(
        timezone('{{ var("time_zone") }}', cast({{ day }} as timestamp)),
        timezone('{{ var("time_zone") }}', cast({{ day }} as timestamp) - interval 1 hour)
        + interval 1 hour
    )
{%- endmacro %}


{# The business date that a moment belongs to. #}
{% macro platform_date(moment) -%}
    cast(timezone('{{ var("time_zone") }}', {{ moment }}) as date)
{%- endmacro %}


{# The date so many days after `day`; before it, if negative. #}
{% macro add_days(day, days) -%}
    cast({{ day }} + interval ({{ days }}) day as date)
{%- endmacro %}


{# The date so many months after `day`; before it, if negative. #}
{% macro add_months(day, months) -%}
    cast({{ day }} + interval ({{ months }}) month as date)
{%- endmacro %}


{# Days from one date to another. #}
{% macro days_between(earlier, later) -%}
    date_diff('day', {{ earlier }}, {{ later }})
{%- endmacro %}


{# Months from the month of one date to that of another. #}
{% macro months_between(earlier, later) -%}
    date_diff('month', {{ earlier }}, {{ later }})
{%- endmacro %}


{# The first day of the month that a date lies in. #}
{% macro month_of(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro %}


{# The number of days from a date to the last day of its month; 0 on that day. #}
{% macro days_to_month_end(day) -%}
    cast(last_day({{ day }}) - cast({{ day }} as date) as bigint)
{%- endmacro %}
