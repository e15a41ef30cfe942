"""Transport: bring each published delivery to its institution, and record what happened."""
