"""Runs the roles: logging, signals, and the service manager."""
