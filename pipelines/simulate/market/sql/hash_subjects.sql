-- Suppressed subjects by the SHA-256 of their phone or identity number, in a fixed order.

select
    subject_type,
    sha256(subject) as subject,
    reason,
    institution_id
from subjects
order by all
