-- The recorded matches of a day, each with the rules of one policy version that it breaks. It reads
-- `matches`, `leads`, `consents`, `products`, `product_rules`, `earlier_offers` of the day, and of
-- the policy `caps`, `least_odds`, `exclusive`, `protected_names` and `consent_roles`.

with repeated as (

    select distinct
        channel_id,
        lead_id,
        institution_id,
        product_id
    from earlier_offers
    where offered_on + cast($same_product_again_days as int) > cast($day as date)

),

reserved as (

    select distinct
        earlier_offers.channel_id,
        earlier_offers.lead_id,
        exclusive.institution_id
    from earlier_offers
    inner join exclusive on earlier_offers.institution_id = exclusive.institution_id
    where earlier_offers.offered_on + cast(exclusive.days as int) > cast($day as date)

),

closed as (

    select distinct
        product_rules.institution_id,
        product_rules.product_id
    from product_rules
    inner join protected_names on product_rules.attribute = protected_names.name

),

consented as (

    select
        leads.channel_id,
        leads.lead_id,
        regexp_replace(lower(trim(coalesce(consents.consent_by_role, ''))), '[\s-]+', '_', 'g')
            as stated_role,
        upper(split_part(trim(coalesce(leads.region, '')), '-', 1)) as country
    from leads
    inner join consents
        on leads.channel_id = consents.channel_id and leads.lead_id = consents.lead_id
    where leads.segment = 'business' and exists (from consent_roles)

),

-- a country that no entry lists needs what all entries allow, which is `default`
unauthorised as (

    select
        consented.channel_id,
        consented.lead_id
    from consented
    left join consent_roles
        on
            consented.stated_role = consent_roles.role
            and consent_roles.jurisdiction = case
                when consented.country in (select listed.jurisdiction from consent_roles as listed)
                    then consented.country
                else 'default'
            end
    where not coalesce(consent_roles.may_consent, false)

),

facts as (

    select
        matches.match_id,
        coalesce(leads.person_key, matches.channel_id || '/' || matches.lead_id) as person,
        matches.p_approve,
        matches.expected_value,
        matches.rank,
        matches.suggested_apr,
        products.apr_min,
        (
            select min(caps.cap)
            from caps
            where
                coalesce(caps.kind, products.institution_kind) = products.institution_kind
                and coalesce(caps.segment, products.segment) = products.segment
                and caps.currency = products.currency
        ) as cap,
        coalesce(of_country.odds, $default_least_odds) as odds_needed,
        consents.consent_at < cast($oldest_consent as timestamptz) as is_consent_expired,
        repeated.product_id is not null as is_repeated,
        (
            select count(*)
            from reserved
            where
                reserved.channel_id = matches.channel_id
                and reserved.lead_id = matches.lead_id
                and reserved.institution_id <> matches.institution_id
        ) > 0 as is_reserved,
        closed.product_id is not null as is_protected,
        unauthorised.lead_id is not null as is_unauthorised
    from matches
    left join leads on matches.channel_id = leads.channel_id and matches.lead_id = leads.lead_id
    left join consents
        on matches.channel_id = consents.channel_id and matches.lead_id = consents.lead_id
    left join products
        on
            matches.institution_id = products.institution_id
            and matches.product_id = products.product_id
    left join least_odds as of_country
        on upper(split_part(coalesce(leads.region, ''), '-', 1)) = of_country.jurisdiction
    left join repeated
        on
            matches.channel_id = repeated.channel_id
            and matches.lead_id = repeated.lead_id
            and matches.institution_id = repeated.institution_id
            and matches.product_id = repeated.product_id
    left join unauthorised
        on
            matches.channel_id = unauthorised.channel_id
            and matches.lead_id = unauthorised.lead_id
    left join closed
        on
            matches.institution_id = closed.institution_id
            and matches.product_id = closed.product_id

),

broken as (

    select
        match_id,
        person,
        unnest([
            case when apr_min > cap + 1e-9 then 'price_cap' end,
            case when apr_min <= cap + 1e-9 and suggested_apr > cap + 1e-9 then 'rate_shown' end,
            case when p_approve < odds_needed then 'least_odds' end,
            case when is_consent_expired then 'consent_age' end,
            case when is_unauthorised then 'consent_role' end,
            case when expected_value < $minimum_value then 'minimum_value' end,
            case when rank > $max_offers_per_lead then 'offers_per_lead' end,
            case when is_repeated then 'same_product_again' end,
            case when is_reserved then 'exclusive' end,
            case when is_protected then 'protected_attribute' end
        ]) as broken_rule
    from facts

)

select
    match_id,
    person,
    broken_rule
from broken
where broken_rule is not null
order by match_id, broken_rule
