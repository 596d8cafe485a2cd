"""The credentials that a request carries: bearer token, cookie, name and password."""

import base64
import binascii

from aiohttp import web

COOKIE = "gpu-monitor"
"""Holds the token of a browser that has signed in."""
_MAX_COOKIES = 4


def tokens_of(request: web.BaseRequest) -> list[str]:
    """Tokens in the Authorization header and in cookies."""
    found = []
    for header in request.headers.getall("Authorization", []):
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip())
    return [*found, *cookies_of(request)]


def cookies_of(request: web.BaseRequest) -> list[str]:
    """Tokens in cookies.

    Two pages of one site, at / and at /gpus/, have a cookie each, and browsers send both.
    """
    found = []
    for header in request.headers.getall("Cookie", []):
        for pair in header.split(";"):
            name, _, token = pair.strip().partition("=")
            if name == COOKIE and token.strip('"'):
                found.append(token.strip('"'))
    return found[:_MAX_COOKIES]


def password_of(request: web.BaseRequest) -> tuple[str, str] | None:
    """Name and password of Basic authentication (RFC 7617); None if there are none."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None
