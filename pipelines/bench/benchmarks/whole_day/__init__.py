"""The benchmark of a whole day: a market with a history, the day through its DAG, its kernels."""
