"""The caller of a request: identified before anything is answered."""

from dataclasses import dataclass

from aiohttp import web

from gpu_monitor.web.settings import Role


@dataclass(frozen=True, slots=True)
class Person:
    """`name` is "" where no sign-in is required.

    `secret` is the hash in the viewers' file, "" without one. A person with another secret is
    another person, even under the same name.
    """

    name: str
    role: Role
    secret: str = ""


PERSON: web.RequestKey[Person] = web.RequestKey("person", Person)
"""Where a request holds its caller."""
