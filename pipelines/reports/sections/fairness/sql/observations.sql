-- One value per person and measure; `institution_id` is empty where all lenders count together.

create or replace temp table observations as
with by_person as (
    select
        person,
        count(*) as offers,
        arg_min(suggested_apr, (place, institution_id)) as suggested_apr,
        arg_min(p_approve, (place, institution_id)) as p_approve,
        bool_or(is_approved) filter (where is_decided) as is_approved,
        bool_or(is_funded) filter (where is_decided and is_approved) as is_funded,
        sum(cast(is_approved as integer) - p_approve) filter (where is_decided) as approval_error,
        sum(
            (cast(is_approved as integer) - p_approve) * (cast(is_approved as integer) - p_approve)
        ) filter (where is_decided) as approval_square,
        sum(
            cast(is_funded as integer) - p_fund
        ) filter (where is_decided and is_approved) as take_up_error,
        count(*) filter (where is_decided) as decided,
        count(*) filter (where is_decided and is_approved) as approved,
        sum(charged_apr) filter (where is_decided and is_approved) as charged_apr,
        count(charged_apr) filter (where is_decided and is_approved) as charged
    from person_matches
    group by person
),

values_of_measures as (
    select
        'matched' as measure,
        '' as institution_id,
        people.person,
        cast(by_person.person is not null as decimal(18, 9)) as amount
    from people
    left join by_person on people.person = by_person.person
    union all
    select
        'offers' as measure,
        '' as institution_id,
        person,
        cast(offers as decimal(18, 9)) as amount
    from by_person
    union all
    select
        'approved' as measure,
        '' as institution_id,
        person,
        cast(is_approved as decimal(18, 9)) as amount
    from by_person
    union all
    select
        'funded' as measure,
        '' as institution_id,
        person,
        cast(is_funded as decimal(18, 9)) as amount
    from by_person
    union all
    select
        'suggested_apr' as measure,
        '' as institution_id,
        person,
        suggested_apr as amount
    from by_person
    union all
    select
        'charged_apr' as measure,
        '' as institution_id,
        person,
        cast(charged_apr / nullif(charged, 0) as decimal(18, 9)) as amount
    from by_person
    union all
    select
        'odds' as measure,
        '' as institution_id,
        person,
        p_approve as amount
    from by_person
    union all
    select
        'approval_error' as measure,
        '' as institution_id,
        person,
        cast(approval_error / nullif(decided, 0) as decimal(18, 9)) as amount
    from by_person
    union all
    select
        'approval_brier' as measure,
        '' as institution_id,
        person,
        cast(approval_square / nullif(decided, 0) as decimal(18, 9)) as amount
    from by_person
    union all
    select
        'take_up_error' as measure,
        '' as institution_id,
        person,
        cast(take_up_error / nullif(approved, 0) as decimal(18, 9)) as amount
    from by_person
    union all
    select
        'approved' as measure,
        institution_id,
        person,
        cast(is_approved as decimal(18, 9)) as amount
    from person_matches
    where is_decided
    union all
    select
        'charged_apr' as measure,
        institution_id,
        person,
        charged_apr as amount
    from person_matches
    where is_decided and is_approved
)

select * from values_of_measures
where amount is not null
