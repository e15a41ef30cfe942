-- What the reasons of each match tell a person; filled by `reason_words.sql`.
create or replace table reason_words (
    channel_id varchar,
    lead_id varchar,
    institution_id varchar,
    product_id varchar,
    reasons varchar[],
    main_reasons_en varchar,
    main_reasons_zh varchar
)
