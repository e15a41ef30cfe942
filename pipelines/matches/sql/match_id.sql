-- A match id depends on the date and the keys alone, so it is the same when a day is run again.
create or replace macro make_match_id(day, channel_id, lead_id, institution_id, product_id) as
sha256(concat_ws(chr(31), day, channel_id, lead_id, institution_id, product_id))[:32]
