"""One module for each benchmark of the command line."""
