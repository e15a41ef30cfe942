{# The full catalogues of each owner, each with the date from which it is in force.

   A catalogue is what an owner sent in the folder of one date (`landed_on`) and Banyan took in on
   `known_on`. It replaces the owner's earlier one as a whole; one that comes late, when a
   newer one is known already, replaces nothing.

   Result: `owner`, `landed_on`, `known_on`, `replaced_on` (null: in force on the business date). #}
{% macro effective_catalogues(sent, owner) %}
    select
        {{ owner }},
        landed_on,
        known_on,
        lead(known_on) over (partition by {{ owner }} order by known_on) as replaced_on

    from (
        select
            *,
            max(landed_on) over (
                partition by {{ owner }}
                order by known_on
                rows between unbounded preceding and current row
            ) as newest_landed_on

        from (
            select {{ owner }}, known_on, max(landed_on) as landed_on
            from {{ sent }}
            group by {{ owner }}, known_on
        ) as newest_of_the_day
    ) as in_order

    where landed_on = newest_landed_on
{% endmacro %}


{# Every row of the effective catalogues, with the dates between which it was the latest version of
   its `key`: from `known_from` (the first row of a key: without a start, so that an outcome older
   than its product's first catalogue has terms) until before `known_until` (null: no end).
   `replaced_on`: when the owner's next catalogue took effect (null: this is its latest).
   `is_in_force`: it belongs to a catalogue in force on the business date; once per key. #}
{% macro catalogue_versions(sent, owner, key) %}
    select
        *,
        is_latest_catalogue and known_until is null as is_in_force

    from (
        select
            sent.*,
            catalogues.replaced_on,
            catalogues.replaced_on is null as is_latest_catalogue,
            case
                when lag(sent.known_on) over (
                    partition by sent.{{ key | join(", sent.") }}
                    order by sent.known_on, sent.{{ owner }}
                ) is null then cast('0001-01-01' as date)
                else sent.known_on
            end as known_from,
            lead(sent.known_on) over (
                partition by sent.{{ key | join(", sent.") }}
                order by sent.known_on, sent.{{ owner }}
            ) as known_until

        from {{ sent }} as sent
        inner join (
            {{ effective_catalogues(sent, owner) | indent(8) }}
        ) as catalogues
            on
                sent.{{ owner }} = catalogues.{{ owner }}
                and sent.landed_on = catalogues.landed_on
                and sent.known_on = catalogues.known_on
    ) as versions
{% endmacro %}
