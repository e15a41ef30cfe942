"""What a match is called."""

MATCH_ID = "sha256(concat_ws(chr(31), $day, channel_id, lead_id, institution_id, product_id))[:32]"
"""SQL over the keys of a match, with the parameter `$day` (ISO 8601); nothing else decides it."""
