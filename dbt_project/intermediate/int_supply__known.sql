-- One row per business lead and invoice of a month that was known before its business date, as a
-- seller or as a buyer.
--
-- Point in time: only reports that counted at the start of the business date.

with leads as (

    select
        channel_id,
        lead_id,
        business_date,
        currency,
        id_number_sha256,
        {{ add_months("business_date", - (var("supply_history_months") | int)) }}
            as history_starts_on

    from {{ ref("int_leads__in_scope") }}
    where segment = 'business' and id_number_sha256 is not null

),

versions as (

    select * from {{ ref("int_supply__versions") }}

),

sides as (

    select
        *,
        seller_sha256 as id_number_sha256,
        buyer_sha256 as partner_sha256,
        true as is_sale
    from versions
    union all
    select
        *,
        buyer_sha256 as id_number_sha256,
        seller_sha256 as partner_sha256,
        false as is_sale
    from versions

)

select
    leads.channel_id,
    leads.lead_id,
    leads.business_date,
    sides.is_sale,
    sides.partner_sha256,
    sides.month_start,
    sides.paid_late_share,
    sides.confirmed_share,
    sides.days_to_pay,
    case when sides.currency = leads.currency then {{ exact("sides.amount") }} end as amount

from leads
inner join sides
    on
        leads.id_number_sha256 = sides.id_number_sha256
        and leads.business_date > sides.known_on
        and leads.history_starts_on <= sides.month_start
where sides.replaced_on is null or sides.replaced_on >= leads.business_date
