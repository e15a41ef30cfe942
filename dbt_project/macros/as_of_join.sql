{# Join the version of a row that was known on a date: of the rows of `relation` (as `alias`) with the
   same `keys` as `left`, the latest with `known_from` <= `left`.`at`, or none.

   An engine without ASOF finds the same row by `known_from` and `known_until`. #}
{% macro as_of_join(relation, alias, left, keys, at) -%}
    asof left join {{ relation }} as {{ alias }}
        on
            {% for key in keys -%}
            {{ left }}.{{ key }} = {{ alias }}.{{ key }} and
            {% endfor -%}
            {{ left }}.{{ at }} >= {{ alias }}.known_from
{%- endmacro %}
