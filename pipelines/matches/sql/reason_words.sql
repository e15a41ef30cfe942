-- The codes and words of the reasons for each match in `match_reasons`, strongest first.
insert into reason_words
select
    channel_id,
    lead_id,
    institution_id,
    product_id,
    list(code order by strength_rank) as reasons,
    string_agg(person_en, ', ' order by strength_rank) as main_reasons_en,
    string_agg(person_zh, '、' order by strength_rank) as main_reasons_zh
from match_reasons
where effect = 'raises'
group by channel_id, lead_id, institution_id, product_id
