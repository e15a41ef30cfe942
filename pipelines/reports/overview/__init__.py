"""Pages over many dates: all days, each week, each month."""
