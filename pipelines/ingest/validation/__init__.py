"""From text to typed columns: parsing, Great Expectations, and a verdict on each row."""
