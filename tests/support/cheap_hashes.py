"""Hashes of passwords that cost nothing to verify."""

import base64
import hashlib

CHEAP = "scrypt:2:1:1:"


def cheap_hash(password: str) -> str:
    """Like `hash_password`, with parameters that cost nothing."""
    salt = b"s" * 16
    key = hashlib.scrypt(password.encode(), salt=salt, n=2, r=1, p=1, dklen=32)
    parts = [base64.urlsafe_b64encode(data).decode().rstrip("=") for data in (salt, key)]
    return CHEAP + ":".join(parts)
