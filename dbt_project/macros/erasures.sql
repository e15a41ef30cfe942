{# Whether an id has taken the place of the one of an erased person (pipelines/core/home/erasures.py).
   A match and its outcomes stay without the person, because quotas, budgets and bills rest on them. #}
{% macro is_erased(id) -%}
    coalesce(starts_with({{ id }}, 'erased-'), false)
{%- endmacro %}
