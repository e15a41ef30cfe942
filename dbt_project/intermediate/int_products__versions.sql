-- One row per product in each catalogue that took effect, with the dates of its terms.

{{ catalogue_versions(
    ref("stg_lake__products"), "institution_id", ["institution_id", "product_id"]
) }}
