"""Authentication and authorization of every request."""
