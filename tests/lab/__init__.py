"""Booted machines to roll out to: see bed.py."""
