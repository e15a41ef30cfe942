-- One row per institution in each list of a platform that took effect, with the dates of its terms.

{{ catalogue_versions(ref("stg_lake__institutions"), "platform_id", ["institution_id"]) }}
