"""What every stage stands on: settings, errors, publishing, database, lake views, statistics."""
