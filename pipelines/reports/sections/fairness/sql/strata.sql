-- The stratum of each observation: people of one segment and currency for which the controls
-- predict about the same, by the prognostic score (B. Hansen, Biometrika 95, 2008): the effects of
-- the bins, added up as decimals, so that the order of addition does not matter.

create or replace temp table strata as
with cells as (
    select
        observations.measure,
        control_bins.segment,
        control_bins.currency,
        control_bins.control,
        control_bins.bin,
        sum(observations.amount) as total,
        count(*) as people
    from observations
    inner join control_bins on observations.person = control_bins.person
    where observations.institution_id = ''
    group by
        observations.measure,
        control_bins.segment,
        control_bins.currency,
        control_bins.control,
        control_bins.bin
),

effects as (
    select
        measure,
        segment,
        currency,
        control,
        bin,
        sum(total) over (alike) / cast(sum(people) over (alike) as bigint) as mean,
        cast(
            (total + $prior_people * mean) / (people + $prior_people) - mean as decimal(18, 9)
        ) as effect
    from cells
    window alike as (partition by measure, segment, currency, control)
),

observed as (
    select distinct
        measure,
        person
    from observations
),

scores as (
    select
        effects.measure,
        control_bins.person,
        any_value(control_bins.segment) as segment,
        any_value(control_bins.currency) as currency,
        sum(effects.effect) as score
    from observed
    inner join control_bins on observed.person = control_bins.person
    inner join effects
        on
            observed.measure = effects.measure
            and control_bins.segment = effects.segment
            and control_bins.currency is not distinct from effects.currency
            and control_bins.control = effects.control
            and control_bins.bin = effects.bin
    group by effects.measure, control_bins.person
),

placed as (
    select
        observations.measure,
        observations.institution_id,
        observations.person,
        observations.amount,
        scores.segment,
        scores.currency,
        row_number() over (alike order by scores.score, observations.person) - 1 as place,
        count(*) over (alike) as people
    from observations
    inner join scores
        on observations.measure = scores.measure and observations.person = scores.person
    window
        alike as (
            partition by
                observations.measure,
                observations.institution_id,
                scores.segment,
                scores.currency
        )
)

select
    measure,
    institution_id,
    person,
    amount,
    segment || ' ' || coalesce(currency, '') || ' ' || cast(
        floor(
            place * greatest(1, least($max_strata, people // $people_per_stratum)) / people
        ) as integer
    ) as stratum
from placed
