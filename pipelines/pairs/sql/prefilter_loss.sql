-- Best value after shadow prices (`net_value`) that the leads of `sampled_pairs` can reach: with
-- every pair, and with the pairs that the prefilter keeps.
--
-- A lead takes at most one offer an institution and `$max_offers` in all. Values are in whole
-- ten-thousandths, so that sums do not depend on their order.

with net_values as (

    select
        channel_id,
        lead_id,
        institution_id,
        is_kept,
        cast(round(net_value * 10000) as bigint) as net_value
    from sampled_pairs
    where
        p_approve >= least_odds
        and expected_value >= $minimum_value
        and expected_value > 0

),

institutions as (

    select
        channel_id,
        lead_id,
        institution_id,
        max(net_value) as best,
        max(net_value) filter (where is_kept) as best_kept
    from net_values
    group by channel_id, lead_id, institution_id

),

leads_of_sample as (

    select
        list_sum(
            list_slice(list_sort(list(greatest(best, 0)), 'desc'), 1, $max_offers)
        ) as best,
        list_sum(
            list_slice(
                list_sort(list(greatest(coalesce(best_kept, 0), 0)), 'desc'), 1, $max_offers
            )
        ) as best_kept
    from institutions
    group by channel_id, lead_id

)

select
    coalesce(sum(best), 0) as best,
    coalesce(sum(best_kept), 0) as best_kept
from leads_of_sample
