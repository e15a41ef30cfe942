-- One row per institution of the products in force: of the matches that it received some weeks ago,
-- approvals and funded loans as a ratio to what the models had expected of them, at most 1.
--
-- The probabilities of the models are of matches that were decided. Some never are: the person
-- doesn't apply, the decision isn't reported; and a plan chooses where the models are too hopeful
-- (the winner's curse). The actual-to-expected ratio of actuaries has all of it. With few matches
-- it is close to that of the platform, which is close to 1 before it has any. An institution that
-- has reported nothing of these matches has the ratio of the platform. Older matches don't count:
-- the models that predicted them have been replaced since.

with matches as (

    select
        published.channel_id,
        published.lead_id,
        published.institution_id,
        published.product_id,
        max_by(published.p_approve, published.matched_on) as p_approve,
        max_by(published.p_approve * published.p_fund, published.matched_on) as p_funded
    from {{ ref("stg_published__matches") }} as published
    semi join {{ ref("stg_published__delivered") }} as delivered
        on published.match_id = delivered.match_id
    anti join {{ ref("stg_published__returns") }} as returned
        on published.match_id = returned.match_id
    where
        published.matched_on >= {{ add_days(run_day(), -2 * (var("decided_within_days") | int)) }}
        and published.matched_on < {{ add_days(run_day(), -(var("decided_within_days") | int)) }}
    group by
        published.channel_id, published.lead_id, published.institution_id, published.product_id

),

outcomes as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        sum(approvals) as approvals,
        sum(fundings) as fundings
    from {{ ref("int_pair_changes") }}
    where known_on < {{ run_day() }}
    group by channel_id, lead_id, institution_id, product_id

),

by_institution as (

    select
        matches.institution_id,
        coalesce(sum(outcomes.approvals), 0) as approvals,
        coalesce(sum(outcomes.fundings), 0) as fundings,
        sum({{ exact("matches.p_approve") }}) as expected_approvals,
        sum({{ exact("matches.p_funded") }}) as expected_fundings
    from matches
    left join outcomes
        on
            matches.channel_id = outcomes.channel_id
            and matches.lead_id = outcomes.lead_id
            and matches.institution_id = outcomes.institution_id
            and matches.product_id = outcomes.product_id
    group by matches.institution_id
    having count(outcomes.lead_id) > 0

),

platform as (

    select
        least(1, {{ smoothed_rate(
            "coalesce(sum(approvals), 0)", "coalesce(sum(expected_approvals), 0)", "1"
        ) }}) as approvals_to_expected,
        least(1, {{ smoothed_rate(
            "coalesce(sum(fundings), 0)", "coalesce(sum(expected_fundings), 0)", "1"
        ) }}) as fundings_to_expected
    from by_institution

),

institutions as (

    select distinct institution_id from {{ ref("int_products__versions") }}
    where is_in_force

)

select
    institutions.institution_id,
    cast(least(1, {{ smoothed_rate(
        "coalesce(by_institution.approvals, 0)", "coalesce(by_institution.expected_approvals, 0)",
        "platform.approvals_to_expected"
    ) }}) as double) as approvals_to_expected,
    cast(least(1, {{ smoothed_rate(
        "coalesce(by_institution.fundings, 0)", "coalesce(by_institution.expected_fundings, 0)",
        "platform.fundings_to_expected"
    ) }}) as double) as fundings_to_expected

from institutions
cross join platform
left join by_institution
    on institutions.institution_id = by_institution.institution_id
