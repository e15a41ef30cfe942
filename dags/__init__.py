"""When: the DAGs. What they run is in `pipelines`; `local/` runs them on one machine."""
