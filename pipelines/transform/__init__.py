"""From the lake to the marts: dbt in-process, one build per layer, then Parquet for all else."""
