"""One module for each section of the report: each loads the data of its own."""
