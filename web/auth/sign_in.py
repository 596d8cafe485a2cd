"""Who is calling: every request is identified by one of four ways of signing in, or refused.

Threat: the document names users and what they run. With `sign_in: none` everyone who can reach
the port sees it, as far as `viewer_role` allows; with `proxy` everyone who can pose as the proxy
is anyone. The operator keeps the port away from others in both cases (loopback, firewall), and
terminates TLS in front of `token` and `basic`: this server itself speaks plain HTTP.
"""

import logging
from collections.abc import Callable

from aiohttp import web

from gpu_monitor.web.auth.accounts import Accounts, is_name
from gpu_monitor.web.auth.allowed_hosts import AllowedHosts
from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.auth.credentials import password_of, tokens_of
from gpu_monitor.web.auth.hashing import DUMMY_PASSWORD_HASH, kind_of
from gpu_monitor.web.auth.password_check import PasswordChecker, TooManyChecks
from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.auth.rate_limit import GuessLimiter
from gpu_monitor.web.errors import RequestRefused
from gpu_monitor.web.settings import WebSettings

log = logging.getLogger(__name__)

CHALLENGE = {
    "token": 'Bearer realm="GPU Monitor"',
    "basic": 'Basic realm="GPU Monitor", charset="UTF-8"',
}
_SIGN_IN_FIRST = {
    "token": "open the page to sign in, or send your token as Authorization: Bearer TOKEN",
    "basic": "send your name and password, as curl -u NAME does",
}


class SignIn:
    """`accounts` are the viewers who may sign in; None admits everyone, or everyone whom the proxy
    names.

    In modes without a secret (`none`, `proxy`) the request must have been sent to one of `hosts`.
    The others need no such check: browsers send a token or a password only to the name it was
    entered for.
    """

    def __init__(
        self,
        settings: WebSettings,
        accounts: Accounts | None,
        proxies: TrustedProxies,
        hosts: AllowedHosts,
        guesses: GuessLimiter,
        clock: Callable[[], float],
    ) -> None:
        self.mode = settings.sign_in
        self._settings = settings
        self._accounts = accounts
        self._proxies = proxies
        self._hosts = hosts
        self._clock = clock
        self._guesses = guesses
        self._passwords = PasswordChecker(clock)
        self._anyone = Person("", settings.viewer_role)

    def is_current(self, person: Person) -> bool:
        """Whether a person identified earlier would still be admitted, with the same role."""
        return self._accounts is None or self._accounts.is_current(person)

    async def identify(self, request: web.Request, holder: Person | None = None) -> Person:
        """The caller, or RequestRefused. `holder` is the person whose ticket was presented.

        A ticket replaces the token or password, because not every browser sends its password when
        it opens a websocket. It does not replace the proxy.
        """
        if self.mode == "none":
            self._hosts.check(request)
            return self._anyone
        if self.mode == "proxy":
            person = self._person_named_by_proxy(request)
            self._hosts.check(request)
            return person
        if self.mode == "token":
            tokens = tokens_of(request)
            if tokens or holder is None:
                return self.person_by_token(request, tokens)
        elif "Authorization" in request.headers or holder is None:
            return await self._person_by_password(request)
        if not self.is_current(holder):
            raise self._unauthorized("the holder of this ticket has been removed")
        return holder

    def person_by_token(self, request: web.Request, tokens: list[str]) -> Person:
        """The owner of one of these tokens, or RequestRefused; a right token never has to wait.

        Tokens are looked up by hash, so the time this takes reveals nothing.
        """
        known = [person for token in tokens if (person := self._find(token=token)) is not None]
        if known:
            return known[0]
        if tokens:
            self._count_guess(request)
            raise self._unauthorized("unknown token")
        raise self._unauthorized("sign in first")

    async def _person_by_password(self, request: web.Request) -> Person:
        credentials = password_of(request)
        if credentials is None:
            raise self._unauthorized("sign in first")
        name, password = credentials
        person = self._find(name=name)
        secret = person.secret if person is not None else ""
        if kind_of(secret) != "password":
            person, secret = None, DUMMY_PASSWORD_HASH
        is_guess = self._passwords.is_new(password, secret)
        if is_guess:
            self._count_guess(request)
        right = await self._verify(password, secret)
        if person is None or not right or not self.is_current(person):
            raise self._unauthorized("wrong name or password")
        if is_guess:
            self._guesses.take_back(self._proxies.client_address(request), self._clock())
        return person

    async def _verify(self, password: str, secret: str) -> bool:
        try:
            return await self._passwords.verify(password, secret)
        except TooManyChecks:
            hint = "try again in a moment"
            raise RequestRefused(503, "too many people are signing in", hint) from None

    def _person_named_by_proxy(self, request: web.Request) -> Person:
        header = self._settings.user_header
        if not self._proxies.forwarded(request):
            hint = "open the page through the proxy, whose address must be in trusted_proxies"
            raise RequestRefused(403, "only the proxy may connect here", hint)
        names = request.headers.getall(header, [])
        if len(names) != 1 or not is_name(names[0]):
            hint = f"the proxy must send {header} exactly once, with the name of the signed-in user"
            raise RequestRefused(401, "the proxy does not name the user", hint)
        if self._accounts is None:
            return Person(names[0], self._settings.viewer_role)
        person = self._find(name=names[0])
        if person is None:
            hint = "whoever runs the server can add them: gpu-monitor viewers add NAME"
            raise RequestRefused(403, f"{names[0]} is not a viewer here", hint)
        return person

    def _find(self, name: str = "", token: str = "") -> Person | None:
        """The viewer with this name or token, even if added just now."""
        if self._accounts is None:
            return None
        for _ in range(2):
            found = self._accounts.by_token(token) if token else self._accounts.by_name(name)
            if found is not None:
                return found
            self._accounts.reload_for_newcomer()
        return None

    def _count_guess(self, request: web.Request) -> None:
        """Count a guess of this address, or refuse it."""
        address, now = self._proxies.client_address(request), self._clock()
        wait = self._guesses.seconds_to_wait(address, now)
        if not wait:
            if self._guesses.count_guess(address, now):
                log.warning("too many wrong attempts from %s: it must wait", address)
            return
        seconds = int(wait) + 1
        after = {"Retry-After": str(seconds)}
        error = "too many wrong attempts from this address"
        raise RequestRefused(429, error, f"wait {seconds} s", after)

    def _unauthorized(self, why: str) -> RequestRefused:
        challenge = {"WWW-Authenticate": CHALLENGE[self.mode]}
        return RequestRefused(401, why, _SIGN_IN_FIRST[self.mode], challenge)
