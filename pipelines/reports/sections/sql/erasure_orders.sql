-- The orders to erase a person that are not carried out: the lake still has leads of the person. By
-- the date on which the order became known. Tables: `orders` (subject_type, subject, known_on),
-- `leads` (the lake).

with open_orders as (

    select
        orders.subject_type,
        orders.subject,
        orders.known_on
    from orders
    semi join leads
        on orders.subject_type = 'id_number' and orders.subject = leads.id_number_sha256
    union
    select
        orders.subject_type,
        orders.subject,
        orders.known_on
    from orders
    semi join leads
        on orders.subject_type = 'id_number' and orders.subject = leads.owner_id_number_sha256
    union
    select
        orders.subject_type,
        orders.subject,
        orders.known_on
    from orders
    semi join leads
        on orders.subject_type = 'phone' and orders.subject = leads.phone_sha256
    union
    select
        orders.subject_type,
        orders.subject,
        orders.known_on
    from orders
    semi join leads
        on
            orders.subject_type = 'lead'
            and orders.subject = leads.channel_id || '/' || leads.lead_id

)

select
    known_on,
    count(*) as orders
from open_orders
group by known_on
order by known_on
