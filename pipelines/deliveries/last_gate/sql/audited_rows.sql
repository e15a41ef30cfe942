-- Each row of the outgoing files with the lead that it claims to be and every kind of violation.
--
-- What a person says counts for every row. What the institution or the platform says counts for
-- rows that are new to the institution, and for all rows on the day itself.

create or replace temp table audited_rows as

with claimed as (

    select
        outgoing_rows.*,
        claims.channel_id,
        claims.lead_id as claimed_lead_id,
        claims.p_approve,
        leads.lead_id,
        leads.region,
        leads.segment,
        leads.consent_by_role,
        leads.amount,
        leads.term_months,
        leads.scopes,
        leads.is_withdrawn,
        leads.consent_at,
        leads.consent_version,
        leads.consent_text_sha256,
        leads.id_key,
        leads.phone_key,
        leads.firms_of,
        earlier.match_id is not null as is_earlier,
        earlier.match_id is null or $day = $as_of as is_judged
    from outgoing_rows
    left join gate.claims
        on
            outgoing_rows.match_id = claims.match_id
            and outgoing_rows.product_id = claims.product_id
            and outgoing_rows.institution_id = claims.institution_id
    left join gate.leads
        on claims.channel_id = leads.channel_id and claims.lead_id = leads.lead_id
    left join earlier
        on
            outgoing_rows.institution_id = earlier.institution_id
            and outgoing_rows.match_id = earlier.match_id

),

objections as (

    select
        claimed.institution_id,
        claimed.match_id,
        list_sort(list(distinct objections.kind)) as kinds
    from claimed
    inner join gate.objections
        on
            claimed.channel_id = objections.channel_id
            and claimed.claimed_lead_id = objections.lead_id
            and claimed.institution_id = coalesce(objections.institution_id, claimed.institution_id)
    group by claimed.institution_id, claimed.match_id

),

landed as (

    select
        claimed.institution_id,
        claimed.match_id,
        list_sort(list(distinct landed_since.reason)) as kinds
    from claimed
    inner join gate.landed_since
        on
            claimed.channel_id = landed_since.channel_id
            and claimed.claimed_lead_id = landed_since.lead_id
            and claimed.institution_id
            = coalesce(landed_since.institution_id, claimed.institution_id)
    group by claimed.institution_id, claimed.match_id

),

terms as (

    select
        institution_id,
        product_id,
        count(*) as catalogues,
        bool_and(is_open) as is_open,
        bool_and(coalesce(apr_min <= cap + 1e-9, true)) as is_below_cap,
        min(highest_rate) as highest_rate
    from gate.catalogue
    group by institution_id, product_id

),

-- by the newest lists on the day and now
admitted as (

    select institution_id
    from gate.admissions
    where is_admitted
    group by institution_id
    having count(*) = $catalogues

),

-- each product on each date by which it is judged states what it must
stated as (

    select
        institution_id,
        product_id,
        bool_and(states_costs) as states_costs
    from gate.disclosures
    group by institution_id, product_id

),

-- the loan of each row costs at most the cap, at the highest stated rate; without a term at each
-- one that is lent, without an amount for the largest one
priced as (

    select
        claimed.institution_id,
        claimed.match_id,
        bool_and(
            costs.months is not null
            and costs.paid_share * coalesce(claimed.amount, catalogue.amount_max) + costs.paid_money
            <= coalesce(claimed.amount, catalogue.amount_max) * (1 + 1e-8)
        ) as is_within_cap
    from claimed
    inner join gate.catalogue
        on
            claimed.institution_id = catalogue.institution_id
            and claimed.product_id = catalogue.product_id
    inner join gate.disclosures
        on
            catalogue.judged_on = disclosures.judged_on
            and catalogue.institution_id = disclosures.institution_id
            and catalogue.product_id = disclosures.product_id
    left join gate.costs
        on
            catalogue.judged_on = costs.judged_on
            and catalogue.institution_id = costs.institution_id
            and catalogue.product_id = costs.product_id
            and coalesce(claimed.term_months, costs.months) = costs.months
            and (claimed.term_months is not null or costs.is_lent)
    where disclosures.is_capped and catalogue.cap is not null
    group by claimed.institution_id, claimed.match_id

),

texts as (

    select
        claimed.institution_id,
        claimed.match_id,
        count(consent_texts.version) as texts,
        coalesce(bool_or(claimed.consent_text_sha256 = consent_texts.sha256), false) as is_its_text
    from claimed
    left join gate.consent_texts
        on
            claimed.consent_version = consent_texts.version
            and cast(timezone($time_zone, claimed.consent_at) as date)
            between consent_texts.valid_from and consent_texts.valid_to
    group by claimed.institution_id, claimed.match_id

),

role_jurisdictions as (

    select distinct jurisdiction from gate.consent_roles
    where jurisdiction <> 'default'

),

-- by the jurisdiction of the region; where none is listed, every one must allow the role
authorised as (

    select
        claimed.institution_id,
        claimed.match_id
    from claimed
    inner join gate.consent_roles as allowed on claimed.consent_by_role = allowed.role
    group by claimed.institution_id, claimed.match_id, claimed.region
    having
        case
            when
                upper(split_part(trim(coalesce(claimed.region, '')), '-', 1))
                in (select listed.jurisdiction from role_jurisdictions as listed)
                then bool_or(
                    allowed.jurisdiction
                    = upper(split_part(trim(coalesce(claimed.region, '')), '-', 1))
                )
            else
                count(distinct allowed.jurisdiction)
                = (select count(*) + 1 from role_jurisdictions)
        end

),

judged as (

    select
        claimed.institution_id,
        claimed.match_id,
        claimed.product_id,
        claimed.is_judged,
        case
            when claimed.claimed_lead_id is null then ['unknown_match']
            when claimed.lead_id is null then ['unknown_lead']
            else list_distinct(list_concat(
                list_transform(
                    coalesce(objections.kinds, []),
                    lambda kind: case
                        when kind = 'erased' and claimed.is_earlier
                            then 'erased_since_an_earlier_version'
                        else kind
                    end
                ),
                coalesce(landed.kinds, []),
                case when claimed.is_withdrawn then ['consent_withdrawn'] else [] end,
                case
                    when
                        claimed.scopes is null
                        or not list_bool_and(
                            list_transform(
                                claimed.scopes,
                                lambda scope: list_contains(scope, $every_institution)
                                or list_contains(scope, claimed.institution_id)
                            )
                        )
                        then ['consent_does_not_cover_it']
                    else []
                end,
                case
                    when claimed.consent_at is null then ['consent_without_a_time']
                    when claimed.consent_at >= $day_end then ['consent_not_given_yet']
                    when claimed.consent_at < $oldest_consent then ['consent_expired']
                    when claimed.is_judged and claimed.consent_at < $oldest_consent_now
                        then ['consent_expired']
                    else []
                end,
                case
                    when not $has_texts then []
                    when texts.texts = 0 and $unknown_version_closes then ['consent_text_unknown']
                    when
                        texts.texts > 0
                        and claimed.consent_text_sha256 is not null
                        and not texts.is_its_text
                        then ['consent_text_contradicts']
                    else []
                end,
                case
                    when claimed.segment = 'business' and authorised.match_id is null
                        then ['consent_role_not_allowed']
                    else []
                end,
                case
                    when claimed.has_other_personal_data then ['columns_of_another_person']
                    else []
                end,
                case
                    when
                        count(*) over (
                            partition by
                                claimed.institution_id, claimed.channel_id, claimed.claimed_lead_id
                        ) > 1
                        then ['lead_twice']
                    when
                        (
                            claimed.id_key is not null
                            and count(*) over (
                                partition by claimed.institution_id, claimed.id_key
                            ) > 1
                        )
                        or (
                            claimed.phone_key is not null
                            and count(*) over (
                                partition by claimed.institution_id, claimed.phone_key
                            ) > 1
                        )
                        or (
                            claimed.firms_of is not null
                            and count(*) over (
                                partition by claimed.institution_id, claimed.firms_of
                            ) > 1
                        )
                        then ['person_twice']
                    else []
                end,
                case when admitted.institution_id is null then ['not_admitted'] else [] end,
                case
                    when not claimed.is_judged then []
                    when coalesce(terms.catalogues, 0) < $catalogues then ['not_in_catalogue']
                    when not terms.is_open then ['product_closed']
                    when not terms.is_below_cap then ['product_above_price_cap']
                    when claimed.suggested_apr > terms.highest_rate + 1e-9 then ['rate_above_cap']
                    when not coalesce(stated.states_costs, false) then ['costs_not_stated']
                    when not coalesce(priced.is_within_cap, true) then ['cost_above_price_cap']
                    else []
                end,
                case
                    when not claimed.is_judged then []
                    when
                        coalesce(
                            claimed.p_approve < coalesce(odds.least, $least_odds) - 1e-9, true
                        )
                        then ['below_least_odds']
                    else []
                end
            ))
        end as kinds
    from claimed
    left join objections
        on
            claimed.institution_id = objections.institution_id
            and claimed.match_id = objections.match_id
    left join landed
        on claimed.institution_id = landed.institution_id and claimed.match_id = landed.match_id
    left join terms
        on claimed.institution_id = terms.institution_id and claimed.product_id = terms.product_id
    left join texts
        on claimed.institution_id = texts.institution_id and claimed.match_id = texts.match_id
    left join authorised
        on
            claimed.institution_id = authorised.institution_id
            and claimed.match_id = authorised.match_id
    left join admitted on claimed.institution_id = admitted.institution_id
    left join stated
        on
            claimed.institution_id = stated.institution_id
            and claimed.product_id = stated.product_id
    left join priced
        on claimed.institution_id = priced.institution_id and claimed.match_id = priced.match_id
    left join gate.odds
        on upper(split_part(coalesce(claimed.region, ''), '-', 1)) = odds.jurisdiction

)

select * from judged
