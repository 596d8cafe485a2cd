"""Tests on booted machines that the playbook sets up; see bed.py."""
