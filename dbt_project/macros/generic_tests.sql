{# The generic tests that dbt itself lacks. Each returns the rows that fail; only their number is
   reported, never a value. #}

{% test unique_combination_of_columns(model, columns) %}
    select {{ columns | join(", ") }}
    from {{ model }}
    group by {{ columns | join(", ") }}
    having count(*) > 1
{% endtest %}


{# Every row of the table has a row with the same `columns` in `to`. #}
{% test relationships_of_columns(model, to, columns) %}
    select 1 as missing
    from (select * from {{ model }}) as child
    left join {{ to }} as parent
        on {% for column in columns %}{{ "and " if not loop.first -}}
            child.{{ column }} = parent.{{ column }} {% endfor %}
    where parent.{{ columns[0] }} is null
{% endtest %}


{# The table has as many rows as `of` counts: none is lost or repeated. #}
{% test equal_rowcount(model, of) %}
    select 1 as differs
    from (select count(*) as rows_here from {{ model }}) as here
    cross join ({{ of }}) as there
    where here.rows_here <> there.rows_there
{% endtest %}


{# The expression holds in every row (unknown counts as a failure). #}
{% test expression_is_true(model, expression) %}
    select 1 as broken
    from {{ model }}
    where not coalesce({{ expression }}, false)
{% endtest %}
