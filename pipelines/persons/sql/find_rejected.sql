-- The rejected rows of each person that is asked for and has no lead. Tables: `asked` (person,
-- kind, subject: a keyed hash), `rejected_values`, `leads` (the lake). `numbers` counts the
-- identity numbers of all rows of a phone: with several it is unclear who is meant. A row that
-- has the number itself may also have the one of a firm's owner.

with found as (

    select distinct
        asked.person,
        rejected_values.path,
        rejected_values.line,
        asked.kind,
        rejected_values.value
    from asked
    inner join rejected_values
        on
            asked.kind = rejected_values.kind
            and asked.subject = keyed_hash(sha256(rejected_values.value))
    anti join leads as of_numbers on asked.subject = of_numbers.id_number_sha256
    anti join leads as of_phones on asked.subject = of_phones.phone_sha256

),

numbers as (

    select
        found.person,
        count(distinct rejected_values.value) as numbers
    from found
    inner join rejected_values
        on
            found.path = rejected_values.path
            and found.line = rejected_values.line
    where rejected_values.is_number and found.kind = 'phone'
    group by found.person

)

select
    found.*,
    coalesce(numbers.numbers, 0) > 1 as is_ambiguous
from found
left join numbers on found.person = numbers.person
order by found.person, found.path, found.line
