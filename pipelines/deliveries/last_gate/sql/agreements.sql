-- The columns of a lead that each institution agreed to receive, by the lists in force on `$day`.

create or replace table gate.agreements as

select
    institution_id,
    max_by(
        fields, struct_pack(landed_on := landed_on, known_on := known_on, sent_by := platform_id)
    ) as agreed_fields
from gate.institutions
where known_on <= $day
group by institution_id
