-- The matches with the codes and words of the reasons for each, strongest first.
create or replace table explained as
select
    chosen.*,
    reason_words.reasons,
    reason_words.main_reasons_en,
    reason_words.main_reasons_zh
from chosen
inner join reason_words using (channel_id, lead_id, institution_id, product_id)
