"""Answers to single HTTP requests."""
