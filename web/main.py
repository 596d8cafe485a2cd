"""The web server's life: follow the broker, serve, tick several times a second."""

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any

import zmq
from aiohttp import web

from gpu_monitor.web.api.routes import Api
from gpu_monitor.web.app import Page, make_app
from gpu_monitor.web.auth.access import AccessControl
from gpu_monitor.web.auth.accounts import Accounts
from gpu_monitor.web.auth.allowed_hosts import AllowedHosts
from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.auth.rate_limit import GuessLimiter
from gpu_monitor.web.auth.sign_in import SignIn
from gpu_monitor.web.auth.sign_in_form import SignInForm
from gpu_monitor.web.auth.tickets import Tickets
from gpu_monitor.web.connection import Arrivals, Connection, log_no_client_errors
from gpu_monitor.web.error_responses import outermost
from gpu_monitor.web.listening import Reception, allow_connections, bind, page_url
from gpu_monitor.web.page.assets import Assets
from gpu_monitor.web.places import Places
from gpu_monitor.web.rejections import Rejections
from gpu_monitor.web.settings import WebLimits, WebSettings
from gpu_monitor.web.stream.handshake import Handshake
from gpu_monitor.web.stream.hub import Hub
from gpu_monitor.wire import __version__
from gpu_monitor.wire.broker_link import Subscriber
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.replica import Patch, Replica

HUB_TICK_SECONDS = 0.1
TICKS_PER_ACCOUNTS_POLL = 10
SHUTDOWN_SECONDS = 1.0
DEFAULT_LIMITS = WebLimits()


async def run(
    settings: WebSettings,
    ready: Callable[[str], None] | None = None,
    context: zmq.Context[Any] | None = None,
    limits: WebLimits = DEFAULT_LIMITS,
) -> None:
    """Serve until cancelled. `ready` receives the page's URL once it can be opened.

    OSError if the port cannot be bound, AccountsError if the viewers' file is unusable, KeysError
    if the keys are. An inproc endpoint needs the broker's `context`, which stays open.
    """
    log_no_client_errors()
    used = zmq.Context[Any]() if context is None else context
    try:
        await _Server(settings, used, limits).run(ready)
    finally:
        if context is None:
            used.term()


class _Server:
    """The parts of one run: the document, access control, viewers."""

    def __init__(self, settings: WebSettings, context: zmq.Context[Any], limits: WebLimits) -> None:
        self._settings = settings
        self._context = context
        is_remote = settings.updates_endpoint.startswith("tcp:")
        enrol = f"gpu-monitor keys add --web {socket.gethostname()}"
        self._lock = Lock(settings.keys, enrol) if is_remote else None
        self._assets = Assets()
        self._replica = Replica(self._about(), settings.rpc_timeout, boottime())
        self._subscriber: Subscriber | None = None
        self._hub = Hub(self._replica.document, boottime, limits)
        self._accounts = Accounts(settings.viewers) if settings.viewers else None
        self._account_changes = 0
        proxies = TrustedProxies(settings.trusted_proxies)
        self._places = Places(allow_connections(limits.connections), proxies)
        self._rejections = Rejections(boottime)
        self._arrivals = Arrivals(limits.request_seconds, self._rejections, boottime)
        self._reception: Reception | None = None
        guesses = GuessLimiter(limits.seconds_per_guess)
        hosts = AllowedHosts(settings.web_hosts, proxies, boottime)
        self._sign_in = SignIn(settings, self._accounts, proxies, hosts, guesses, boottime)
        self._runner = web.AppRunner(self._app(proxies), shutdown_timeout=SHUTDOWN_SECONDS)

    def _app(self, proxies: TrustedProxies) -> web.Application:
        settings, sign_in = self._settings, self._sign_in
        form = SignInForm(sign_in, proxies, self._assets) if settings.sign_in == "token" else None
        access = AccessControl(sign_in, Tickets(boottime), form, settings.allowed_origins)
        page = Page(self._assets, public=settings.sign_in == "none")
        api = Api(
            self._replica,
            boottime,
            self._recent,
            access.issue_ticket,
            self._hub,
            self._rejections.counts,
        )
        return make_app(
            page, api, Handshake(self._hub, proxies, self._rejections), access, settings.base_path
        )

    async def run(self, ready: Callable[[str], None] | None) -> None:
        await self._runner.setup()
        try:
            url = await self._open()
            self._subscriber = self._subscribe()
            if ready is not None:
                ready(url)
            await self._tick_until_cancelled(self._subscriber)
        finally:
            await self._shut_down()

    async def _open(self) -> str:
        """Bind and accept connections; the URL of the page. OSError if the port cannot be bound."""
        server = self._runner.server
        assert server is not None  # since setup
        server.request_handler = outermost(server.request_handler, self._rejections)
        listeners = await bind(self._settings)
        self._reception = Reception(
            listeners,
            lambda on_lost: Connection(server, self._arrivals, on_lost),
            self._places,
            self._rejections,
        )
        return page_url(self._settings, listeners[0].getsockname()[1])

    def _subscribe(self) -> Subscriber:
        return Subscriber(
            self._settings.updates_endpoint,
            self._context,
            self._replica,
            self._publish,
            boottime,
            self._lock,
        )

    async def _tick_until_cancelled(self, subscriber: Subscriber) -> None:
        for tick in itertools.count():
            await asyncio.sleep(HUB_TICK_SECONDS)
            subscriber.poll()
            self._hub.tick()
            self._arrivals.close_late()
            if self._accounts is not None and tick % TICKS_PER_ACCOUNTS_POLL == 0:
                await self._poll_accounts(self._accounts)

    async def _poll_accounts(self, accounts: Accounts) -> None:
        accounts.reload_if_changed()
        if accounts.changes != self._account_changes:
            self._account_changes = accounts.changes
            await self._hub.dismiss(self._sign_in.is_current)

    async def _shut_down(self) -> None:
        if self._subscriber is not None:
            self._subscriber.close()
        if self._reception is not None:
            self._reception.close()
        await self._hub.close()
        await self._runner.cleanup()

    def _publish(self, patch: Patch | None) -> None:
        if patch is not None:
            self._hub.publish(self._replica.document, patch)

    def _about(self) -> dict[str, Any]:
        """The member `web` of the document."""
        about: dict[str, Any] = {"version": __version__, "assets": self._assets.hash}
        if self._settings.warnings:
            about["warnings"] = list(self._settings.warnings)
        return about

    async def _recent(self, name: str) -> dict[str, Any] | None:
        if self._subscriber is None:
            raise asyncio.TimeoutError
        return await self._subscriber.recent(name)
