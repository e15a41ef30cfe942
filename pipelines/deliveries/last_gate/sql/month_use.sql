-- Leads that products with a monthly limit were sent on earlier dates of the month: of what each
-- institution received, the matches that no later version took back and whose return was not
-- accepted.

create or replace table gate.month_use as

select
    received.institution_id,
    received.product_id,
    count(distinct received.match_id) as leads
from gate.received as received
semi join gate.planned as planned on received.match_id = planned.match_id
anti join gate.returned as returned on received.match_id = returned.match_id
group by received.institution_id, received.product_id
