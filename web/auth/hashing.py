"""Hashes of tokens and passwords, as the viewers' file stores them."""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["token", "password", "none"]

NO_SECRET = "-"
"""For a viewer that a proxy signs in."""
_TOKEN_BYTES = 32
_SALT_BYTES, _KEY_BYTES = 16, 32
_COST, _BLOCK, _PARALLEL = 1 << 14, 8, 5
"""scrypt's N, r and p: 16 MiB and 0.2 s for each attempt. Every hash states its own, so that these
can change later."""
_MAX_HASHING_BYTES = 256 << 20


def new_token() -> str:
    """A random token of 43 URL-safe characters."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """A single SHA-256 is enough for 256 random bits."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()


def hash_password(password: str) -> str:
    """A salted scrypt hash. Slow: for a thread."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = _derive(password, salt, _COST, _BLOCK, _PARALLEL)
    numbers = f"{_COST}:{_BLOCK}:{_PARALLEL}"
    return f"scrypt:{numbers}:{_text(salt)}:{_text(key)}"


def is_password(password: str, secret: str) -> bool:
    """Whether `secret` is the hash of `password`. As slow as `hash_password`."""
    _, cost, block, parallel, salt, key = secret.split(":")
    found = _derive(password, _bytes(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(found, _bytes(key))


def kind_of(secret: str) -> Kind | None:
    """What the secret is a hash of; None if it is no valid hash."""
    if secret == NO_SECRET:
        return "none"
    name, *parts = secret.split(":")
    try:
        if name == "sha256" and len(parts) == 1 and len(bytes.fromhex(parts[0])) == 32:
            return "token"
        if name == "scrypt" and len(parts) == 5 and _is_usable(parts):
            return "password"
    except (ValueError, binascii.Error):
        pass
    return None


def _is_usable(parts: list[str]) -> bool:
    """Whether scrypt accepts these parameters, and within a bearable amount of memory."""
    cost, block, parallel = map(int, parts[:3])
    is_valid = 1 < cost <= 1 << 20 and cost & (cost - 1) == 0 and 0 < block <= 32
    is_affordable = 0 < parallel <= 16 and 128 * cost * block < _MAX_HASHING_BYTES
    lengths = len(_bytes(parts[3])), len(_bytes(parts[4]))
    return is_valid and is_affordable and lengths == (_SALT_BYTES, _KEY_BYTES)


def _derive(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "backslashreplace"),
        salt=salt,
        n=cost,
        r=block,
        p=parallel,
        maxmem=2 * _MAX_HASHING_BYTES,
        dklen=_KEY_BYTES,
    )


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


DUMMY_PASSWORD_HASH = f"scrypt:{_COST}:{_BLOCK}:{_PARALLEL}:" + ":".join(
    _text(secrets.token_bytes(size)) for size in (_SALT_BYTES, _KEY_BYTES)
)
"""Verified for unknown names, so that response times do not reveal which names exist."""
