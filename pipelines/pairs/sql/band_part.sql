-- Part of a product's risk band, 0 to 9, in which a lead's pd lies.

create or replace macro band_part(pd, pd_max) as
cast(least(9, floor(10 * pd / coalesce(nullif(pd_max, 0), 1))) as int)
