"""What another way to match would have been worth, estimated from what was shown and came of it."""
