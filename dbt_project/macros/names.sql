{# A name as policies write it: in small letters, with `_` for white space and hyphens. #}
{% macro snake_case(name) -%}
    regexp_replace(lower(trim({{ name }})), '[\s-]+', '_', 'g')
{%- endmacro %}
