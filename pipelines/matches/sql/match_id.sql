-- A match id depends on the date, the keys and the secret key of the home alone, so it is the same
-- when a day is run again.
create or replace macro make_match_id(day, channel_id, lead_id, institution_id, product_id) as
keyed_hash(concat_ws(chr(31), day, channel_id, lead_id, institution_id, product_id))[:32]
