{# Figures of each entity by what was known before each requested business date.

   The window's frame ends one day before the business date, so nothing that became known on the
   day itself or later gets in; this is the only place where history is summed.

   Args:
       events: A relation or CTE of rows with `keys`, `known_on` (business date on which the row
           became known) and the columns that are summed.
       days: Rows with `keys` and `business_date`: the requested dates, each once.
       keys: Columns that identify the entity.
       figures: Of each figure: `name`, `of` (the column), and optionally `how` (default sum;
           else min or max) and `days` that the window reaches back (default: the whole history).

   Result: one row per row of `days`: `keys`, `business_date`, the figures. A sum over nothing
   is 0, any other figure of nothing is null. #}
{% macro known_before(events, days, keys, figures) %}
    select
        {% for key in keys %}{{ key }}, {% endfor %}
        on_day as business_date,
        {%- for figure in figures %}
        {{ figure.name }}{{ "," if not loop.last }}
        {%- endfor %}

    from (
        select
            {% for key in keys %}{{ key }}, {% endfor %}
            on_day,
            is_requested,
            {%- for figure in figures %}
            {{ "coalesce(" if figure.how is not defined }}
            {{- figure.how | default("sum") }}({{ figure.name }}) over (
                partition by {{ keys | join(", ") if keys else "1" }}
                order by on_day
                range between
                {{ "interval '%s' day" % figure.days if figure.days is defined else "unbounded" }}
                preceding and interval '1' day preceding
            ){{ ", 0)" if figure.how is not defined }} as {{ figure.name }}
            {{- "," if not loop.last }}
            {%- endfor %}

        from (
            select
                {% for key in keys %}{{ key }}, {% endfor %}
                known_on as on_day,
                false as is_requested,
                {%- for figure in figures %}
                {{ figure.how | default("sum") }}({{ figure.of }}) as {{ figure.name }}
                {{- "," if not loop.last }}
                {%- endfor %}
            from {{ events }}
            group by {% for key in keys %}{{ key }}, {% endfor %}known_on
            union all
            select
                {% for key in keys %}{{ key }}, {% endfor %}
                business_date as on_day,
                true as is_requested,
                {%- for figure in figures %}
                null as {{ figure.name }}{{ "," if not loop.last }}
                {%- endfor %}
            from {{ days }}
        ) as events_and_days
    ) as known

    where is_requested
{% endmacro %}


{# The figures that every history of outcomes has. #}
{% macro outcome_figures() %}
    {{ return([
        {"name": "decisions", "of": "decisions"},
        {"name": "approvals", "of": "approvals"},
        {"name": "fundings", "of": "fundings"},
    ]) }}
{% endmacro %}


{# A rate shrunken toward another one as if by `smoothing_decisions` further trials: an entity with
   little history looks like the average, one with much like itself. #}
{% macro smoothed_rate(successes, trials, toward) -%}
    {%- set weight = "cast(%s as double)" % var("smoothing_decisions") -%}
    ({{ successes }} + {{ weight }} * {{ toward }}) / nullif({{ trials }} + {{ weight }}, 0)
{%- endmacro %}


{# The logarithm of the odds of a share, which may be 0 or 1: it counts as at least 1% and at most 99%. #}
{% macro log_odds(share) -%}
    ln(
        least(greatest({{ share }}, 0.01), 0.99)
        / (1 - least(greatest({{ share }}, 0.01), 0.99))
    )
{%- endmacro %}


{# The share that has these log-odds. #}
{% macro logistic(log_odds) -%}
    1 / (1 + exp(-({{ log_odds }})))
{%- endmacro %}


{# An amount of money as a number whose sum doesn't depend on the order of adding. #}
{% macro exact(amount) -%}
    cast({{ amount }} as decimal(38, 6))
{%- endmacro %}
