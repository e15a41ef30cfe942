"""The DAGs: when each step runs. `local/` runs them on one machine."""
