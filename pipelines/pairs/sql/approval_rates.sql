-- Mean `p_approve` and `p_fund` of the pairs of `sample_pairs`, by product and by the part of the
-- product's risk band in which the lead's pd lies.
--
-- A rate is shrunken as if by `$prior_pairs` further pairs: the product's toward the rates of the
-- parts that its leads lie in, then that of product and part toward both. Sums are in whole
-- billionths, so that they do not depend on their order.

create or replace table approval_rates as

with groups as (

    select
        sample_pairs.product_row,
        band_part(sample_pairs.pd, products.pd_max) as part,
        count(*) as pairs,
        sum(cast(round(sample_pairs.p_approve * 1e9) as hugeint)) as p_approve,
        sum(cast(round(sample_pairs.p_fund * 1e9) as hugeint)) as p_fund
    from sample_pairs
    inner join products on sample_pairs.product_row = products.product_row
    group by all

),

sampled_parts as (

    select
        part,
        sum(p_approve) / nullif(sum(pairs), 0) as p_approve,
        sum(p_fund) / nullif(sum(pairs), 0) as p_fund
    from groups
    group by part

),

overall as (

    select
        sum(p_approve) / sum(pairs) as p_approve,
        sum(p_fund) / sum(pairs) as p_fund
    from groups

),

band_parts as (

    select
        numbers.part,
        coalesce(sampled_parts.p_approve, overall.p_approve, 0) as p_approve,
        coalesce(sampled_parts.p_fund, overall.p_fund, 0) as p_fund
    from range(10) as numbers (part)
    left join sampled_parts on numbers.part = sampled_parts.part
    cross join overall

),

product_sums as (

    select
        groups.product_row,
        sum(groups.p_approve) as p_approve,
        sum(groups.p_fund) as p_fund,
        sum(cast(round(groups.pairs * band_parts.p_approve / 1e9 * 1e9) as hugeint))
            as predicted_p_approve,
        sum(cast(round(groups.pairs * band_parts.p_fund / 1e9 * 1e9) as hugeint))
            as predicted_p_fund
    from groups
    inner join band_parts on groups.part = band_parts.part
    group by groups.product_row

),

predictions as (

    select
        products.product_row,
        band_parts.part,
        band_parts.p_approve * (coalesce(product_sums.p_approve, 0) + $prior_pairs * 1e9)
        / (coalesce(product_sums.predicted_p_approve, 0) + $prior_pairs * 1e9) as p_approve,
        band_parts.p_fund * (coalesce(product_sums.p_fund, 0) + $prior_pairs * 1e9)
        / (coalesce(product_sums.predicted_p_fund, 0) + $prior_pairs * 1e9) as p_fund
    from products
    cross join band_parts
    left join product_sums on products.product_row = product_sums.product_row

)

select
    predictions.product_row,
    predictions.part,
    least(
        1,
        (coalesce(groups.p_approve, 0) + $prior_pairs * predictions.p_approve)
        / (coalesce(groups.pairs, 0) + $prior_pairs) / 1e9
    ) as p_approve,
    least(
        1,
        (coalesce(groups.p_fund, 0) + $prior_pairs * predictions.p_fund)
        / (coalesce(groups.pairs, 0) + $prior_pairs) / 1e9
    ) as p_fund
from predictions
left join groups
    on predictions.product_row = groups.product_row and predictions.part = groups.part
