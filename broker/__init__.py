"""Hears the collectors, keeps the latest state of the fleet, publishes what changed."""
