"""Who asks, in each way of signing in; whatever does not tell is a refusal with the reason."""

import base64
import binascii
import logging
from collections.abc import Callable

from aiohttp import web

from gpu_monitor.web.auth.accounts import Accounts, is_name
from gpu_monitor.web.auth.allowed_hosts import Names
from gpu_monitor.web.auth.client_address import Peers
from gpu_monitor.web.auth.hashing import NOBODYS_PASSWORD, kind_of
from gpu_monitor.web.auth.password_check import Busy, Passwords
from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.auth.rate_limit import Guesses
from gpu_monitor.web.errors import Wrong
from gpu_monitor.web.settings import WebSettings

LOG = logging.getLogger(__name__)

COOKIE = "gpu-monitor"
"""Holds the token of a browser that has signed in."""
CHALLENGE = {
    "token": 'Bearer realm="GPU Monitor"',
    "basic": 'Basic realm="GPU Monitor", charset="UTF-8"',
}
_SIGN_IN_FIRST = {
    "token": "open the page to sign in, or send your token as Authorization: Bearer TOKEN",
    "basic": "send your name and password, as curl -u NAME does",
}


class SignIn:
    """`accounts` are those who may sign in; None for everybody, or whomever the proxy names.

    Where nothing secret comes with a request (`none`, `proxy`), the name that it was sent to has
    to be one of `names`. A token or a password is not sent to another name than it was entered
    for, so nothing depends on that there.
    """

    def __init__(
        self,
        settings: WebSettings,
        accounts: Accounts | None,
        peers: Peers,
        names: Names,
        clock: Callable[[], float],
    ) -> None:
        self.mode = settings.sign_in
        self._settings = settings
        self._accounts = accounts
        self._peers = peers
        self._names = names
        self._clock = clock
        self._guesses = Guesses()
        self._passwords = Passwords(clock)
        self._everybody = Person("", settings.viewer_role)

    def holds(self, person: Person) -> bool:
        """Whether a person who once signed in still might, and be shown the same."""
        return self._accounts is None or self._accounts.holds(person)

    async def person(self, request: web.Request, ticket: Person | None = None) -> Person:
        """Who asks, or Wrong. `ticket` is in whose name the ticket was that came along.

        A ticket tells as well as a password, for not every browser sends its password when it
        opens a websocket; but it is no way around a proxy.
        """
        if self.mode == "none":
            self._names.check(request)
            return self._everybody
        if self.mode == "proxy":
            person = self._named_by_proxy(request)
            self._names.check(request)
            return person
        if self.mode == "token":
            tokens = tokens_of(request)
            if tokens or ticket is None:
                return self.by_token(request, tokens)
        elif "Authorization" in request.headers or ticket is None:
            return await self._by_password(request)
        if not self.holds(ticket):
            raise self._refused("nobody has this ticket any more")
        return ticket

    def by_token(self, request: web.Request, tokens: list[str]) -> Person:
        """The person of one of these tokens, or Wrong; a right one is never made to wait.

        A token is looked up by its hash, so the time that takes tells nothing about it.
        """
        known = [person for token in tokens if (person := self._known(token=token)) is not None]
        if known:
            return known[0]
        if tokens:
            self._guess(request)
            raise self._refused("this token is not known here")
        raise self._refused("sign in first")

    async def _by_password(self, request: web.Request) -> Person:
        name, password = credentials_of(request)
        if name is None:
            raise self._refused("sign in first")
        person = self._known(name=name)
        secret = person.secret if person is not None else ""
        if person is None or kind_of(secret) != "password":
            secret = NOBODYS_PASSWORD
        new = self._passwords.is_new(password, secret)
        if new:
            self._guess(request)
        try:
            right = await self._passwords.is_right(password, secret)
        except Busy:
            raise Wrong(503, "too many are signing in", "try again in a moment") from None
        if person is None or not right or not self.holds(person):
            raise self._refused("name or password is wrong")
        if new:
            self._guesses.wrong(self._peers.address(request), self._clock(), -1)
        return person

    def _named_by_proxy(self, request: web.Request) -> Person:
        header = self._settings.user_header
        if not self._peers.is_proxy(request):
            hint = "open the page through the proxy; its address must stand in trusted_proxies"
            raise Wrong(403, "only the proxy may ask here", hint)
        names = request.headers.getall(header, [])
        if len(names) != 1 or not is_name(names[0]):
            hint = f"the proxy must send {header}, once, with the name of who has signed in there"
            raise Wrong(401, "the proxy does not say who asks", hint)
        if self._accounts is None:
            return Person(names[0], self._settings.viewer_role)
        person = self._known(name=names[0])
        if person is None:
            hint = "whoever runs this page can add them: gpu-monitor viewers add NAME"
            raise Wrong(403, f"{names[0]} is none of the viewers here", hint)
        return person

    def _known(self, name: str = "", token: str = "") -> Person | None:
        """The viewer of that name or token, also one who was added just now."""
        if self._accounts is None:
            return None
        for _ in range(2):
            found = self._accounts.by_token(token) if token else self._accounts.by_name(name)
            if found is not None:
                return found
            self._accounts.refresh_for_newcomer()
        return None

    def _guess(self, request: web.Request) -> None:
        """Count one guess of this address, or refuse it."""
        address, now = self._peers.address(request), self._clock()
        wait = self._guesses.seconds_to_wait(address, now)
        if not wait:
            if self._guesses.wrong(address, now):
                LOG.warning("%s has tried too many wrong secrets, and has to wait", address)
            return
        seconds = int(wait) + 1
        after = {"Retry-After": str(seconds)}
        raise Wrong(429, "too many wrong tries from this address", f"wait {seconds} s", after)

    def _refused(self, why: str) -> Wrong:
        challenge = {"WWW-Authenticate": CHALLENGE[self.mode]}
        return Wrong(401, why, _SIGN_IN_FIRST[self.mode], challenge)


def tokens_of(request: web.BaseRequest) -> list[str]:
    """What a request shows as a token: in its header, or in its cookies."""
    found = []
    for header in request.headers.getall("Authorization", []):
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip())
    return [*found, *cookies_of(request)]


def cookies_of(request: web.BaseRequest) -> list[str]:
    """The tokens in a request's cookies.

    Two pages of one site, at / and at /gpus/, have a cookie each: a browser sends both.
    """
    found = []
    for header in request.headers.getall("Cookie", []):
        for pair in header.split(";"):
            name, _, token = pair.strip().partition("=")
            if name == COOKIE and token.strip('"'):
                found.append(token.strip('"'))
    return found[:4]


def credentials_of(request: web.BaseRequest) -> tuple[str, str] | tuple[None, str]:
    """Name and password of Basic authentication (RFC 7617); no name where there are none."""
    scheme, _, coded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None, ""
    try:
        text = base64.b64decode(coded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None, ""
    name, colon, password = text.partition(":")
    return (name, password) if colon else (None, "")
