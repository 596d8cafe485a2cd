"""Who asks, and as what: found out before anything is answered."""

from dataclasses import dataclass

from aiohttp import web

from gpu_monitor.web.settings import Role


@dataclass(frozen=True, slots=True)
class Person:
    """`name` is "" where nobody has to sign in.

    `secret` is the hash that stands in the viewers' file, "" where none does: with another one
    it is another person, whatever the name.
    """

    name: str
    role: Role
    secret: str = ""


PERSON: web.RequestKey[Person] = web.RequestKey("person", Person)
"""Where a request holds who asks."""
