{# A name as policies write it: in small letters, with `_` for white space and hyphens. #}
{% macro snake_case(name) -%}
    regexp_replace(lower(trim({{ name }})), '[\s-]+', '_', 'g')
{%- endmacro %}

{# The key of the firms of an owner; it is not the owner's own key. #}
{% macro firms_key(owner_key) -%}
    sha256('firms|' || {{ owner_key }})
{%- endmacro %}
