"""Ingest: from landed files to checked rows in the lake; every row is accounted for.

`plan` assigns the new files to shards, `ingest_shard` reads and validates one shard, `collect`
publishes. Each step can be killed and run again. A row goes from `shard.py` through `reading/`
(bytes to text), `validation/` (types, contract, verdict), `duplicates.py` (keys) and
`partitions.py` (publishing) into the lake, or into quarantine (`quarantine.py`).
"""
