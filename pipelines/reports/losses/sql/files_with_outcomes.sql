-- Lead files of which an outcome of some lead is known. `outcomes` has the ones that count.

select distinct leads.filename
from read_parquet($leads, filename = true, hive_partitioning = false) as leads
inner join outcomes
    on leads.channel_id = outcomes.channel_id and leads.lead_id = outcomes.lead_id
order by leads.filename
