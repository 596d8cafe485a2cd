"""Commands that do one thing and exit."""
