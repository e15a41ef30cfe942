"""The home as a whole: its schema version, and the marts that many days share."""
