"""Nothing is answered before it is known who asks; and no other site's page may listen."""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from gpu_monitor.web.auth.person import PERSON
from gpu_monitor.web.auth.sign_in import SignIn
from gpu_monitor.web.auth.sign_in_form import Form
from gpu_monitor.web.auth.tickets import Tickets
from gpu_monitor.web.errors import Wrong

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FROM_HERE = frozenset({"same-origin", "none"})
"""What a browser says in Sec-Fetch-Site of a request of this page, or of its address bar."""


class Gate:
    """What every request passes. `origins` are those of other sites that may open a websocket.

    A websocket's handshake with an Origin is a browser's: its page must have fetched a ticket,
    which another site's page cannot. One without an Origin is no browser's, so no site sent it.
    """

    def __init__(
        self, signin: SignIn, tickets: Tickets, form: Form | None, origins: Iterable[str]
    ) -> None:
        self.form = form
        self._signin = signin
        self._tickets = tickets
        self._origins = frozenset(origin.lower() for origin in origins)

    async def to_page(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The page, or the form to sign in for it."""
        if self.form is not None:
            return await self.form.open(request, handler)
        return await self.to_data(request, handler)

    async def to_data(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The handler's answer, once it is known who asks: request[PERSON]."""
        request[PERSON] = await self._signin.person(request)
        return await handler(request)

    async def to_socket(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The same for a websocket's handshake, which moves the connection out of aiohttp."""
        ticket = self._tickets.take(request)
        request[PERSON] = await self._signin.person(request, ticket)
        if ticket is None and not self._may_listen(request):
            hint = "fetch api/v1/ticket first, or write the page's origin under allowed_origins"
            raise Wrong(403, "a browser needs a ticket for this websocket", hint)
        return await handler(request)

    async def to_ticket(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The same for a ticket; a refusal does not make the browser ask for a password.

        The page fetches tickets by itself, now and then, also when nobody is there.
        """
        if request.headers.get("Sec-Fetch-Site", "none") not in _FROM_HERE:
            raise Wrong(403, "tickets are for this page alone", "fetch it from the page's origin")
        try:
            return await self.to_data(request, handler)
        except Wrong as wrong:
            raise Wrong(wrong.status, wrong.error, wrong.hint) from None

    def ticket_for(self, request: web.Request) -> str:
        """A new ticket in the name of who asks."""
        return self._tickets.give(request[PERSON])

    def _may_listen(self, request: web.Request) -> bool:
        origins = request.headers.getall("Origin", [])
        return self._origins.issuperset(origin.lower() for origin in origins)
