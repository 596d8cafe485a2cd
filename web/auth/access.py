"""Access control: identify the caller of every request, keep other sites' pages out."""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from gpu_monitor.web.auth.person import PERSON
from gpu_monitor.web.auth.sign_in import SignIn
from gpu_monitor.web.auth.sign_in_form import SignInForm
from gpu_monitor.web.auth.tickets import Tickets
from gpu_monitor.web.errors import RequestRefused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OWN_PAGE = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of requests from our page and from the address bar."""


class AccessControl:
    """Every request passes one of these methods before its handler.

    A handshake with an Origin comes from a browser: its page must have fetched a ticket, which
    another site's page cannot. A handshake without one comes from another kind of client, so no
    site is behind it. `origins` are other sites that may open the websocket all the same.
    """

    def __init__(
        self,
        sign_in: SignIn,
        tickets: Tickets,
        form: SignInForm | None,
        origins: Iterable[str],
    ) -> None:
        self.form = form
        self._sign_in = sign_in
        self._tickets = tickets
        self._origins = frozenset(origin.lower() for origin in origins)

    async def page(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The page, or the form to sign in for it."""
        if self.form is not None:
            return await self.form.open(request, handler)
        return await self.data(request, handler)

    async def data(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The handler's response, once request[PERSON] is known."""
        request[PERSON] = await self._sign_in.identify(request)
        return await handler(request)

    async def websocket(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The same for a handshake, which may present a ticket."""
        holder = self._tickets.redeem(request)
        request[PERSON] = await self._sign_in.identify(request, holder)
        if holder is None and not self._has_allowed_origin(request):
            hint = "fetch api/v1/ticket first, or add the page's origin to allowed_origins"
            raise RequestRefused(403, "browsers need a ticket for this websocket", hint)
        return await handler(request)

    async def ticket(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The same for a ticket; a refusal does not make the browser prompt for a password.

        The page fetches tickets in the background, even while no one is watching.
        """
        if request.headers.get("Sec-Fetch-Site", "none") not in _OWN_PAGE:
            hint = "fetch it from the page's own origin"
            raise RequestRefused(403, "only this page may fetch tickets", hint)
        try:
            return await self.data(request, handler)
        except RequestRefused as refused:
            raise RequestRefused(refused.status, refused.error, refused.hint) from None

    def issue_ticket(self, request: web.Request) -> str:
        """A new ticket in the caller's name."""
        return self._tickets.issue(request[PERSON])

    def _has_allowed_origin(self, request: web.Request) -> bool:
        origins = request.headers.getall("Origin", [])
        return self._origins.issuperset(origin.lower() for origin in origins)
