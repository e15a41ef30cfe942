-- The stratum of each observation: people of one segment and currency for which the controls
-- predict about the same, by the prognostic score (B. Hansen, Biometrika 95, 2008): the effects of
-- the bins, added up as decimals, so that the order of addition does not matter.

create or replace temp table strata as
with of_all as (
    select
        observations.measure,
        control_bins.*,
        observations.amount
    from observations
    inner join control_bins on observations.person = control_bins.person
    where observations.institution_id = ''
),

means as (
    select
        measure,
        segment,
        currency,
        control,
        sum(amount) / count(*) as mean
    from of_all
    group by measure, segment, currency, control
),

effects as (
    select
        of_all.measure,
        of_all.segment,
        of_all.currency,
        of_all.control,
        of_all.bin,
        cast(
            (sum(of_all.amount) + $prior_people * any_value(means.mean))
            / (count(*) + $prior_people) - any_value(means.mean) as decimal(18, 9)
        ) as effect
    from of_all
    inner join means
        on
            of_all.measure = means.measure
            and of_all.segment = means.segment
            and of_all.currency is not distinct from means.currency
            and of_all.control = means.control
    group by of_all.measure, of_all.segment, of_all.currency, of_all.control, of_all.bin
),

scores as (
    select
        effects.measure,
        control_bins.person,
        any_value(control_bins.segment) as segment,
        any_value(control_bins.currency) as currency,
        sum(effects.effect) as score
    from control_bins
    inner join effects
        on
            control_bins.segment = effects.segment
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
