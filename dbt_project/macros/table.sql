{# Build a table in one statement: DuckDB replaces it as a whole or not at all.

   dbt-duckdb builds beside, renames twice and drops. Each statement has a fixed cost, and a day of
   little data is mostly that. What it does besides (hooks, indexes, foreign keys, grants) no table
   here has. #}
{% materialization table, adapter="duckdb" %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target = this.incorporate(type="table") -%}
    {%- if existing is not none and not existing.is_table -%}
        {%- do adapter.drop_relation(existing) -%}
    {%- endif -%}
    {%- call statement("main") -%}
        {%- if config.get("contract").enforced -%}
            {{ get_assert_columns_equivalent(compiled_code) }}
            create or replace table {{ target }} {{ get_table_columns_and_constraints() }};
            insert into {{ target }} {{ get_column_names() }} (
                {{ get_select_subquery(compiled_code) }}
            )
        {%- else -%}
            create or replace table {{ target }} as (
                {{ compiled_code }}
            )
        {%- endif -%}
    {%- endcall -%}
    {%- do adapter.commit() -%}
    {{ return({"relations": [target]}) }}
{% endmaterialization %}


{# A number for the values of some columns: equal values have equal numbers, and different values
   seldom do. It only tells which rows to look at; never what is equal. #}
{% macro row_hash(columns) -%}
    hash({{ columns | join(", ") }})
{%- endmacro %}
