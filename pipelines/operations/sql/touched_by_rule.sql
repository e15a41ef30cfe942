-- Number of touched matches by rule and effect, with some match ids.

select
    broken_rule,
    effect,
    count(*) as matches,
    list_slice(list_sort(list(match_id)), 1, $examples) as examples
from touched
group by broken_rule, effect
order by broken_rule, effect
