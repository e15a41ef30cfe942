-- The leads of the dates after `$since` up to `$through` under one jurisdiction, by their currency.
-- Table `leads`: the lake. `$is_default`: the currencies are the ones of the other jurisdictions.

select distinct
    channel_id,
    lead_id,
    lead_on
from leads
where
    lead_on > $since
    and lead_on <= $through
    and case
        when $is_default then currency is null or not list_contains($currencies, currency)
        else list_contains($currencies, currency)
    end
order by lead_on, channel_id, lead_id
