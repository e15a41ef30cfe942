-- What the matches of each lead brought by the outcomes known so far, in the order of the leads.
--
-- `loss_given_default` is the share of a loan that is lost if it defaults.

with results_with_terms as (

    select
        match_outcomes.*,
        products.price_model,
        case
            when products.price_model = 'cps' then products.price
            else products.price * products.exchange_rate
        end as price
    from match_outcomes
    inner join products
        on
            match_outcomes.institution_id = products.institution_id
            and match_outcomes.product_id = products.product_id

),

totals as (

    select
        channel_id,
        lead_id,
        count(*) as shown,
        count(*) filter (where is_approved) as approved,
        count(*) filter (where is_funded) as funded,
        count(*) filter (where is_defaulted) as defaulted,
        sum(lent) as lent,
        sum(lent * apr) as interest,
        sum(
            lent * (apr - case when is_defaulted then $loss_given_default else 0 end)
        ) as net_interest,
        sum(
            case price_model
                when 'cpl' then price
                when 'cpa' then case when is_approved then price else 0 end
                when 'cps' then price * lent
            end
        ) as revenue
    from results_with_terms
    group by channel_id, lead_id

)

select
    coalesce(totals.shown, 0) as shown,
    coalesce(totals.approved, 0) as approved,
    coalesce(totals.funded, 0) as funded,
    coalesce(totals.defaulted, 0) as defaulted,
    coalesce(totals.lent, 0) as lent,
    coalesce(totals.interest, 0) as interest,
    coalesce(totals.net_interest, 0) as net_interest,
    coalesce(totals.revenue, 0) as revenue
from loaded_leads
left join totals
    on
        loaded_leads.channel_id = totals.channel_id
        and loaded_leads.lead_id = totals.lead_id
order by loaded_leads.lead_row
