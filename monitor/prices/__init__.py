"""What a token costs, on a date, from a named list."""
