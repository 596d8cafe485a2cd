"""Tickets: a page that fetched one from its own origin may open one websocket with it, at once.

Any site can make a browser open a websocket here, with the viewer's cookie or password. It
cannot read what this server answers to it, so it cannot have a ticket.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from gpu_monitor.web.auth.person import Person

VALID_SECONDS = 10.0
MAX_TICKETS = 20_000
"""Beyond it the oldest is no longer good."""
PREFIX = "gpu-monitor.ticket."
"""A ticket travels among the subprotocols, where no proxy's log keeps it."""


class Tickets:
    """Those that were given out and not used."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._given: OrderedDict[str, tuple[Person, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._given)

    def give(self, person: Person) -> str:
        """A new ticket in that person's name."""
        now = self._clock()
        while self._given and next(iter(self._given.values()))[1] <= now:
            self._given.popitem(last=False)
        if len(self._given) >= MAX_TICKETS:
            self._given.popitem(last=False)
        ticket = secrets.token_urlsafe(32)
        self._given[ticket] = (person, now + VALID_SECONDS)
        return ticket

    def take(self, request: web.BaseRequest) -> Person | None:
        """In whose name the ticket was given that a handshake shows; it is used up by that."""
        for ticket in shown(request):
            person, until = self._given.pop(ticket, (None, 0.0))
            if person is not None and self._clock() < until:
                return person
        return None


def shown(request: web.BaseRequest) -> list[str]:
    """The tickets that a handshake shows."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(",")
    names = [name.strip() for name in offered]
    return [name[len(PREFIX) :] for name in names if name.startswith(PREFIX)]
