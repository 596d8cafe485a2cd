"""One-time tickets for opening a websocket.

Threat: cross-site websocket hijacking. Any site can make a browser open a websocket here, and the
browser adds the viewer's cookie or password. It cannot read our HTTP responses, though, so its
page cannot obtain a ticket. The operator has nothing to do, unless another site's page shall open
the websocket: list its origin in `allowed_origins`.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from gpu_monitor.web.auth.person import Person

TICKET_SECONDS = 10.0
MAX_TICKETS = 20_000
"""Beyond this the oldest becomes invalid."""
TICKET_PREFIX = "gpu-monitor.ticket."
"""A ticket travels as a subprotocol: unlike a query string, that appears in no proxy's log."""


class Tickets:
    """Tickets that were issued and not yet redeemed."""

    def __init__(self, clock: Callable[[], float], max_tickets: int = MAX_TICKETS) -> None:
        self._clock = clock
        self._max_tickets = max_tickets
        self._issued: OrderedDict[str, tuple[Person, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._issued)

    def issue(self, person: Person) -> str:
        """A new ticket in this person's name."""
        now = self._clock()
        while self._issued and next(iter(self._issued.values()))[1] <= now:
            self._issued.popitem(last=False)
        if len(self._issued) >= self._max_tickets:
            self._issued.popitem(last=False)
        ticket = secrets.token_urlsafe(32)
        self._issued[ticket] = (person, now + TICKET_SECONDS)
        return ticket

    def redeem(self, request: web.BaseRequest) -> Person | None:
        """The person whose valid ticket the handshake presents; the ticket is spent."""
        for ticket in tickets_of(request):
            person, expires_at = self._issued.pop(ticket, (None, 0.0))
            if person is not None and self._clock() < expires_at:
                return person
        return None


def tickets_of(request: web.BaseRequest) -> list[str]:
    """The tickets that a handshake presents."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(",")
    names = [name.strip() for name in offered]
    return [name[len(TICKET_PREFIX) :] for name in names if name.startswith(TICKET_PREFIX)]
