"""Transform: from the lake to the marts with dbt in-process, one build per layer."""
