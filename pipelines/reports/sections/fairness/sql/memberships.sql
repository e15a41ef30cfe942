-- The group of each person by each attribute that is known of it, and whether a law protects it
-- there.

create or replace temp table memberships as
with protected_there as (
    select distinct
        attribute,
        country
    from laws
)

select
    people.person,
    attributes.attribute,
    attributes.group_name,
    protected_there.attribute is not null as is_protected
from person_attributes as attributes
inner join people
    on
        attributes."date" = people."date"
        and attributes.channel_id = people.channel_id
        and attributes.lead_id = people.lead_id
left join protected_there
    on
        attributes.attribute = protected_there.attribute
        and people.country = protected_there.country
where attributes.group_name <> ''
