"""Care for a home: migration, checks, backup and restore."""
