{# Lists of text: each engine has its own functions for them. #}

{# Aggregate: the distinct values, sorted, nulls left out. #}
{% macro sorted_list(value) -%}
    coalesce(
        list_sort(list(distinct {{ value }}) filter (where {{ value }} is not null)),
        {{ empty_list() }}
    )
{%- endmacro %}


{% macro empty_list() -%}
    cast([] as varchar[])
{%- endmacro %}
