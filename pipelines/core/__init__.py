"""The base of every stage: settings, errors, publishing, database, statistics, page helpers."""
