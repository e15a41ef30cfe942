"""From bytes to tables of text: CSV, JSON Lines and Parquet."""
