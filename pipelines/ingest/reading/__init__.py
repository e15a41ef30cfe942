"""Reading: from the bytes of CSV, JSON Lines and Parquet files to tables of text."""
