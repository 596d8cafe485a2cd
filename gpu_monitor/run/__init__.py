"""Running the roles until a signal."""
