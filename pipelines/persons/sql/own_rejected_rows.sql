-- The rejected rows with a number or phone of `subject_values` (kind, value). A phone in a row with
-- the number of somebody else is somebody else's row.

with own as (

    select
        rejected_values.path,
        rejected_values.line,
        rejected_values.kind
    from rejected_values
    semi join subject_values
        on
            rejected_values.kind = subject_values.kind
            and rejected_values.value = subject_values.value

)

select distinct
    own.path,
    own.line
from own
left join rejected_values as numbers
    on own.path = numbers.path and own.line = numbers.line and numbers.is_number
left join subject_values
    on subject_values.kind = 'id_number' and numbers.value = subject_values.value
where
    own.kind = 'id_number'
    or numbers.value is null
    or subject_values.value is not null
order by own.path, own.line
