-- What changed in the catalogue between two days: institutions that are new or gone, and for each
-- product its change, with the value before and now as text. A product of an institution that is
-- gone from the catalogue altogether is not named again. `fees_of_both_days` has the fees of both.

with described as (

    select
        institution_id,
        product_id,
        is_open,
        closed_reason,
        admitted_from,
        filename = $products_now as is_now,
        price || ' ' || price_model as price,
        segment || ' ' || currency || ', amount ' || amount_min || ' to ' || amount_max
        || ', term ' || term_min_months || ' to ' || term_max_months || ' months, annual cost '
        || apr_min || ' to ' || apr_max || ', risk ' || coalesce(cast(pd_min as varchar), '0')
        || ' to ' || coalesce(cast(pd_max as varchar), '1') as terms,
        'a day ' || coalesce(cast(daily_quota as varchar), 'any') || ' leads and '
        || coalesce(cast(daily_budget as varchar), 'any budget') || ', a month '
        || coalesce(cast(monthly_quota as varchar), 'any') || ' and '
        || coalesce(cast(monthly_budget as varchar), 'any budget') as quota
    from read_parquet(
        [$products_before, $products_now],
        hive_partitioning = false,
        filename = true,
        union_by_name = true
    )

),

stated_rules as (

    select
        filename = $rules_now as is_now,
        institution_id,
        product_id,
        string_agg(
            attribute || ' ' || op || ' ' || "value", '; '
            order by attribute asc, op asc, "value" asc
        ) as rules
    from
        read_parquet(
            [$rules_before, $rules_now],
            hive_partitioning = false,
            filename = true,
            union_by_name = true
        )
    group by is_now, institution_id, product_id

),

stated_fees as (

    select
        is_now,
        institution_id,
        product_id,
        string_agg(
            fee || ' ' || "value" || ' ' || basis || ' ' || charged_when || ' to ' || collector
            || if(is_contingent, ' in special cases', ''), '; '
            order by fee asc, basis asc, charged_when asc, "value" asc, collector asc
        ) as fees
    from fees_of_both_days
    group by is_now, institution_id, product_id

),

products as (

    select
        described.*,
        coalesce(stated_rules.rules, 'none') as rules,
        coalesce(stated_fees.fees, 'none') as fees
    from described
    left join stated_fees
        on
            described.is_now = stated_fees.is_now
            and described.institution_id = stated_fees.institution_id
            and described.product_id = stated_fees.product_id
    left join stated_rules
        on
            described.is_now = stated_rules.is_now
            and described.institution_id = stated_rules.institution_id
            and described.product_id = stated_rules.product_id

),

institutions_before as (

    select
        institution_id,
        bool_or(admitted_from is not null) as is_listed,
        count(*) as products
    from products
    where not is_now
    group by institution_id

),

institutions_now as (

    select
        institution_id,
        bool_or(admitted_from is not null) as is_listed,
        count(*) as products
    from products
    where is_now
    group by institution_id

),

institution_changes as (

    select
        coalesce(earlier.institution_id, later.institution_id) as institution_id,
        '' as product_id,
        case
            when coalesce(earlier.is_listed, false) then 'institution_gone'
            else 'institution_new'
        end as change_kind,
        coalesce(earlier.products, 0) || ' products' as value_before,
        coalesce(later.products, 0) || ' products' as value_now
    from institutions_before as earlier
    full join institutions_now as later on earlier.institution_id = later.institution_id
    where coalesce(earlier.is_listed, false) != coalesce(later.is_listed, false)

),

earlier as (

    select * from products
    where not is_now

),

later as (

    select * from products
    where is_now

),

compared as (

    select
        coalesce(earlier.institution_id, later.institution_id) as institution_id,
        coalesce(earlier.product_id, later.product_id) as product_id,
        earlier.institution_id is not null as was_there,
        later.institution_id is not null as is_there,
        earlier.is_open as was_open,
        later.is_open,
        earlier.closed_reason as closed_before,
        later.closed_reason as closed_now,
        earlier.price as price_before,
        later.price as price_now,
        earlier.terms as terms_before,
        later.terms as terms_now,
        earlier.quota as quota_before,
        later.quota as quota_now,
        earlier.rules as rules_before,
        later.rules as rules_now,
        earlier.fees as fees_before,
        later.fees as fees_now
    from earlier
    full join later
        on
            earlier.institution_id = later.institution_id
            and earlier.product_id = later.product_id

),

product_changes as (

    select
        institution_id,
        product_id,
        'product_new' as change_kind,
        'none' as value_before,
        case when is_open then 'open' else 'closed: ' || coalesce(closed_now, 'unknown') end
            as value_now
    from compared
    where not was_there
    union all
    select
        compared.institution_id,
        compared.product_id,
        'product_gone' as change_kind,
        case
            when compared.was_open then 'open'
            else 'closed: ' || coalesce(compared.closed_before, 'unknown')
        end as value_before,
        'none' as value_now
    from compared
    inner join institutions_now on compared.institution_id = institutions_now.institution_id
    where not compared.is_there
    union all
    select
        institution_id,
        product_id,
        case when is_open then 'product_opened' else 'product_closed' end as change_kind,
        coalesce(closed_before, 'open') as value_before,
        coalesce(closed_now, 'open') as value_now
    from compared
    where was_there and is_there and was_open != is_open
    union all
    select
        institution_id,
        product_id,
        'price' as change_kind,
        price_before as value_before,
        price_now as value_now
    from compared
    where was_there and is_there and price_before is distinct from price_now
    union all
    select
        institution_id,
        product_id,
        'terms' as change_kind,
        terms_before as value_before,
        terms_now as value_now
    from compared
    where was_there and is_there and terms_before is distinct from terms_now
    union all
    select
        institution_id,
        product_id,
        'quota' as change_kind,
        quota_before as value_before,
        quota_now as value_now
    from compared
    where was_there and is_there and quota_before is distinct from quota_now
    union all
    select
        institution_id,
        product_id,
        'rules' as change_kind,
        rules_before as value_before,
        rules_now as value_now
    from compared
    where was_there and is_there and rules_before is distinct from rules_now
    union all
    select
        institution_id,
        product_id,
        'fees' as change_kind,
        fees_before as value_before,
        fees_now as value_now
    from compared
    where was_there and is_there and fees_before is distinct from fees_now

),

changes as (

    select * from institution_changes
    union all
    select * from product_changes

),

matches_before as (

    select
        institution_id,
        product_id,
        count(*) as leads
    from read_parquet($matches_before, hive_partitioning = false)
    group by institution_id, product_id

)

select
    changes.institution_id,
    changes.product_id,
    changes.change_kind,
    changes.value_before,
    changes.value_now,
    coalesce(matches_before.leads, 0) as leads_before
from changes
left join matches_before
    on
        changes.institution_id = matches_before.institution_id
        and changes.product_id = matches_before.product_id
order by
    list_position(
        [
            'institution_gone', 'institution_new', 'product_gone', 'product_closed', 'product_new',
            'product_opened', 'price', 'terms', 'quota', 'rules', 'fees'
        ],
        changes.change_kind
    ),
    changes.institution_id asc,
    changes.product_id asc
