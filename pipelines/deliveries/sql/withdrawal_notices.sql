-- The received matches of persons who withdrew, asked for erasure or must not be contacted: one
-- row per match and kind, without the ones of an earlier notice.
--
-- Tables: `numbered_leads` (numbered_leads.sql, of the `leads` of notice_candidates.sql) and
-- `delivered`, with their `date`, `suppressions` (orders as known), `kinds` (reason of an order
-- -> kind), `noticed` (earlier notices), `erased_matches` (of erased persons: the lake has
-- nothing of them). An order on any lead of a person holds for all of them: leads with one
-- identity number, or with one phone unless two different numbers came with them. A lead without
-- a number belongs to the numbers that came with its phone. The firms of one owner are one
-- person as the policy says; a firm obeys its owner, and if it came with several the firms of
-- each, as they obey its own.

with keyed as (

    select
        channel_id,
        lead_id,
        "date" as lead_on,
        currency,
        consent_at,
        consent_withdrawn_at,
        id_number_sha256,
        phone_sha256,
        owner_id_number_sha256,
        joining_owner,
        firms_of,
        id_key as own_id_key,
        number_key as id_key,
        phone_key
    from numbered_leads

),

orders as (

    select
        suppressions.subject_type,
        suppressions.institution_id,
        suppressions.effective_at,
        kinds.kind,
        unnest(list_distinct([suppressions.subject, lower(suppressions.subject)])) as subject
    from suppressions
    inner join kinds on suppressions.reason = kinds.reason

),

hits as (

    select
        keyed.*,
        orders.kind,
        orders.institution_id,
        orders.effective_at,
        false as ends_consent
    from keyed
    inner join orders
        on orders.subject_type = 'id_number' and keyed.id_number_sha256 = orders.subject
    union all
    select
        keyed.*,
        orders.kind,
        orders.institution_id,
        orders.effective_at,
        false as ends_consent
    from keyed
    inner join orders
        on orders.subject_type = 'id_number' and keyed.owner_id_number_sha256 = orders.subject
    union all
    select
        keyed.*,
        orders.kind,
        orders.institution_id,
        orders.effective_at,
        false as ends_consent
    from keyed
    inner join orders on orders.subject_type = 'phone' and keyed.phone_sha256 = orders.subject
    union all
    select
        keyed.*,
        orders.kind,
        orders.institution_id,
        orders.effective_at,
        false as ends_consent
    from keyed
    inner join orders
        on
            orders.subject_type = 'lead'
            and keyed.channel_id || '/' || keyed.lead_id = orders.subject
    union all
    select
        keyed.*,
        'withdrawal' as kind,
        cast(null as varchar) as institution_id,
        keyed.consent_withdrawn_at as effective_at,
        true as ends_consent
    from keyed
    where keyed.consent_withdrawn_at is not null

),

-- leads by way of which a hit can reach another one: by phone, then by number, then by phone
first_phones as (

    select distinct phone_key
    from hits
    where phone_key is not null

),

first_ids as (

    select id_key
    from hits
    where id_key is not null
    union
    select keyed.id_key
    from keyed
    semi join first_phones on keyed.phone_key = first_phones.phone_key
    where keyed.id_key is not null

),

last_phones as (

    select phone_key from first_phones
    union
    select keyed.phone_key
    from keyed
    semi join first_ids on keyed.id_key = first_ids.id_key
    where keyed.phone_key is not null

),

reachable as (

    select keyed.*
    from keyed
    semi join last_phones on keyed.phone_key = last_phones.phone_key
    union
    select keyed.*
    from keyed
    semi join first_ids on keyed.id_key = first_ids.id_key
    union
    select keyed.*
    from keyed
    where owner_id_number_sha256 is not null

),

numbers as (

    select
        channel_id,
        lead_id,
        lead_on,
        id_key
    from reachable
    where id_key is not null
    union
    select
        reachable.channel_id,
        reachable.lead_id,
        reachable.lead_on,
        beside.id_key
    from reachable
    inner join reachable as beside on reachable.phone_key = beside.phone_key
    where
        (reachable.own_id_key is null or beside.own_id_key is null)
        and beside.id_key is not null
        and beside.lead_on >= reachable.lead_on - $same_person_days

),

-- the numbers that a firm obeys beside its own
obeyed_numbers as (

    select
        id_key,
        owner_id_number_sha256 as obeyed_key
    from keyed
    where owner_id_number_sha256 is not null
    union
    select
        id_key,
        'firms|' || joining_owner as obeyed_key
    from keyed
    where joining_owner is not null
    union
    select
        'firms|' || joining_owner as id_key,
        id_key as obeyed_key
    from keyed
    where joining_owner is not null

),

obeying as (

    select
        numbers.channel_id,
        numbers.lead_id,
        numbers.lead_on,
        obeyed_numbers.obeyed_key
    from numbers
    inner join obeyed_numbers on numbers.id_key = obeyed_numbers.id_key
    union
    select
        channel_id,
        lead_id,
        lead_on,
        owner_id_number_sha256 as obeyed_key
    from keyed
    where owner_id_number_sha256 is not null

),

related as (

    select
        hits.channel_id,
        hits.lead_id,
        hits.kind,
        hits.institution_id,
        hits.effective_at,
        hits.ends_consent
    from hits
    union
    select
        reachable.channel_id,
        reachable.lead_id,
        hits.kind,
        hits.institution_id,
        hits.effective_at,
        hits.ends_consent
    from hits
    inner join reachable
        on
            hits.phone_key = reachable.phone_key
            and (
                hits.own_id_key is null
                or reachable.own_id_key is null
                or hits.id_key = reachable.id_key
            )
            and hits.lead_on >= reachable.lead_on - $same_person_days
    union
    select
        numbers.channel_id,
        numbers.lead_id,
        hits.kind,
        hits.institution_id,
        hits.effective_at,
        hits.ends_consent
    from hits
    inner join numbers as hit_numbers
        on hits.channel_id = hit_numbers.channel_id and hits.lead_id = hit_numbers.lead_id
    inner join numbers
        on
            hit_numbers.id_key = numbers.id_key
            and hits.lead_on >= numbers.lead_on - $same_person_days
    union
    select
        obeying.channel_id,
        obeying.lead_id,
        hits.kind,
        hits.institution_id,
        hits.effective_at,
        hits.ends_consent
    from hits
    inner join numbers as hit_numbers
        on hits.channel_id = hit_numbers.channel_id and hits.lead_id = hit_numbers.lead_id
    inner join obeying
        on
            hit_numbers.id_key = obeying.obeyed_key
            and hits.lead_on >= obeying.lead_on - $same_person_days

),

concerned as (

    select
        delivered.match_id,
        delivered.institution_id,
        delivered.channel_id,
        delivered.lead_id,
        strftime(delivered."date", '%Y%m%d') || '-' || delivered.institution_id as delivery_id,
        related.kind,
        cast(timezone($zone, min(related.effective_at)) as date) as effective_on,
        min(keyed.currency) as currency
    from related
    inner join delivered
        on related.channel_id = delivered.channel_id and related.lead_id = delivered.lead_id
    inner join keyed
        on delivered.channel_id = keyed.channel_id and delivered.lead_id = keyed.lead_id
    where
        coalesce(related.institution_id, delivered.institution_id) = delivered.institution_id
        and not (related.ends_consent and keyed.consent_at > related.effective_at)
    group by
        delivered.match_id, delivered.institution_id, delivered.channel_id, delivered.lead_id,
        delivered."date", related.kind
    union all by name
    select * exclude (known_on) from erased_matches

)

select
    concerned.match_id,
    concerned.institution_id,
    concerned.channel_id,
    concerned.lead_id,
    concerned.delivery_id,
    concerned.kind,
    concerned.effective_on,
    greatest(coalesce(deadlines.deadline, $deadline), concerned.effective_on) as deadline
from concerned
left join deadlines on concerned.currency = deadlines.currency
anti join noticed
    on concerned.match_id = noticed.match_id and concerned.kind = noticed.kind
order by concerned.institution_id, concerned.match_id, concerned.kind
