-- One row per product in force that stays closed because something that restricts it could not be
-- read, with the reason. A restriction ends when its source's next readable catalogue takes effect.

with restrictions as (

    select * from {{ ref("stg_lake__restrictions") }}
    where "action" in ('close_product', 'close_institution')

),

sent_products as (

    select * from {{ ref("stg_lake__products") }}

),

sent_rules as (

    select * from {{ ref("stg_lake__product_rules") }}

),

sent_fees as (

    select * from {{ ref("stg_lake__product_fees") }}

),

sent_institutions as (

    select * from {{ ref("stg_lake__institutions") }}

),

product_catalogues as (

    {{ effective_catalogues("sent_products", "institution_id") }}

),

sets_of_rules as (

    {{ effective_catalogues("sent_rules", "institution_id") }}

),

lists_of_fees as (

    {{ effective_catalogues("sent_fees", "institution_id") }}

),

lists_of_institutions as (

    {{ effective_catalogues("sent_institutions", "platform_id") }}

),

readable as (

    select
        'products' as feed,
        institution_id as source,
        max(known_on) as known_on
    from product_catalogues
    group by institution_id
    union all
    select
        'product_rules' as feed,
        institution_id as source,
        max(known_on) as known_on
    from sets_of_rules
    group by institution_id
    union all
    select
        'product_fees' as feed,
        institution_id as source,
        max(known_on) as known_on
    from lists_of_fees
    group by institution_id
    union all
    select
        'institutions' as feed,
        platform_id as source,
        max(known_on) as known_on
    from lists_of_institutions
    group by platform_id

),

unmended as (

    select restrictions.*
    from restrictions
    left join readable
        on
            restrictions.feed = readable.feed
            -- the folder of an institution may have been misspelt
            and readable.source in (restrictions.source, restrictions.institution_id)
            and restrictions.known_on < readable.known_on
    where readable.feed is null

),

products as (

    select
        institution_id,
        product_id,
        currency
    from {{ ref("int_products__versions") }}
    where is_in_force

),

-- every product that an institution ever named in a catalogue, readable or not
named_products as (

    select
        institution_id,
        product_id,
        min(known_on) as first_named_on,
        max(known_on) as last_named_on
    from (
        select
            institution_id,
            product_id,
            known_on
        from sent_products
        union all
        select
            coalesce(institution_id, source) as institution_id,
            product_id,
            known_on
        from restrictions
        where feed = 'products' and product_id is not null
    ) as catalogue_rows
    group by institution_id, product_id

),

listed as (

    select distinct
        platform_id,
        institution_id
    from sent_institutions

),

-- what could not be read, by the institution that it concerns
owned as (

    select
        unmended.feed,
        unmended."action",
        unmended.product_id,
        coalesce(
            unmended.institution_id,
            listed.institution_id,
            case
                when unmended.feed in ('products', 'product_rules', 'product_fees')
                    then unmended.source
            end
        ) as institution_id
    from unmended
    left join listed
        on
            unmended.feed = 'institutions'
            and unmended.institution_id is null
            and unmended.source = listed.platform_id

),

scoped as (

    select
        owned.*,
        named_products.last_named_on
    from owned
    left join named_products
        on
            owned.institution_id = named_products.institution_id
            and owned.product_id = named_products.product_id

),

fees_in_force as (

    select * from {{ ref("int_product_fees__in_force") }}

),

-- the rows that restrict a product beside its own one, each as one text
statements_in_force as (

    select
        'rule' as kind,
        sent_rules.institution_id,
        sent_rules.product_id,
        concat_ws(chr(31), sent_rules.attribute, sent_rules.op, sent_rules.value) as stated
    from sent_rules
    inner join sets_of_rules
        on
            sent_rules.institution_id = sets_of_rules.institution_id
            and sent_rules.landed_on = sets_of_rules.landed_on
            and sent_rules.known_on = sets_of_rules.known_on
    where sets_of_rules.replaced_on is null
    union all
    select
        'fee' as kind,
        institution_id,
        product_id,
        concat_ws(
            chr(31), fee, basis, value, currency, charged_when, collector, is_contingent
        ) as stated
    from fees_in_force

),

-- readable rows of a product that is in no catalogue now: the row may be meant for a product that
-- was first named after it was last named, under a misspelt name on one of the two sides
stray_statements as (

    select
        statements_in_force.*,
        named_products.last_named_on
    from statements_in_force
    left join products
        on
            statements_in_force.institution_id = products.institution_id
            and statements_in_force.product_id = products.product_id
    left join named_products
        on
            statements_in_force.institution_id = named_products.institution_id
            and statements_in_force.product_id = named_products.product_id
    where products.product_id is null

),

closings as (

    select
        products.institution_id,
        products.product_id,
        case scoped.feed
            when 'product_rules' then 'unreadable_rule'
            when 'product_fees' then 'unreadable_fee'
            when 'products' then 'unreadable_catalogue'
            when 'institutions' then 'unreadable_admission'
            else 'unreadable_restriction'
        end as closed_reason
    from products
    inner join scoped
        on
            products.institution_id = scoped.institution_id
            and (
                scoped."action" = 'close_institution' or products.product_id = scoped.product_id
            )
    union all
    -- of an unknown product: it could be any of the institution's
    select
        products.institution_id,
        products.product_id,
        case scoped.feed
            when 'product_fees' then 'fee_of_unknown_product'
            else 'rule_of_unknown_product'
        end as closed_reason
    from products
    inner join named_products
        on
            products.institution_id = named_products.institution_id
            and products.product_id = named_products.product_id
    inner join scoped
        on
            products.institution_id = scoped.institution_id
            and (
                scoped.last_named_on is null
                or named_products.first_named_on > scoped.last_named_on
            )
    where
        scoped."action" = 'close_product'
        and scoped.feed in ('product_rules', 'product_fees')
    union all
    -- a product with the same row of its own is as restricted with the stray one as without it
    select
        products.institution_id,
        products.product_id,
        stray_statements.kind || '_of_unknown_product' as closed_reason
    from products
    inner join named_products
        on
            products.institution_id = named_products.institution_id
            and products.product_id = named_products.product_id
    inner join stray_statements
        on
            products.institution_id = stray_statements.institution_id
            and (
                stray_statements.last_named_on is null
                or named_products.first_named_on > stray_statements.last_named_on
            )
    left join statements_in_force as own_statements
        on
            products.institution_id = own_statements.institution_id
            and products.product_id = own_statements.product_id
            and stray_statements.kind = own_statements.kind
            and stray_statements.stated = own_statements.stated
    where own_statements.product_id is null
    union all
    -- a fixed fee in another currency can't be added up, and what is charged on default is charged
    -- in a special case
    select
        products.institution_id,
        products.product_id,
        'contradictory_fee' as closed_reason
    from products
    inner join fees_in_force
        on
            products.institution_id = fees_in_force.institution_id
            and products.product_id = fees_in_force.product_id
    where
        (fees_in_force.basis = 'fixed' and fees_in_force.currency <> products.currency)
        or (fees_in_force.charged_when = 'on_default' and not fees_in_force.is_contingent)

)

-- of several reasons the most specific one
select
    institution_id,
    product_id,
    max(closed_reason) as closed_reason
from closings
group by institution_id, product_id
