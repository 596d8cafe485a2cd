"""The web server's life: follow the broker, serve, look at both a few times a second."""

import asyncio
import itertools
import logging
import resource
import socket
import time
from collections.abc import Callable
from typing import Any

import zmq
from aiohttp import web
from aiohttp.http import HttpProcessingError

from gpu_monitor.web.api.routes import Api
from gpu_monitor.web.app import Page, answering_expect, make_app
from gpu_monitor.web.auth.access import Gate
from gpu_monitor.web.auth.accounts import Accounts
from gpu_monitor.web.auth.allowed_hosts import Names
from gpu_monitor.web.auth.client_address import Peers
from gpu_monitor.web.auth.sign_in import SignIn
from gpu_monitor.web.auth.sign_in_form import Form
from gpu_monitor.web.auth.tickets import Tickets
from gpu_monitor.web.page.assets import Assets
from gpu_monitor.web.settings import WebSettings
from gpu_monitor.web.stream.handshake import Handshake
from gpu_monitor.web.stream.hub import Hub, ViewerLimits
from gpu_monitor.wire import __version__
from gpu_monitor.wire.broker_link import Subscriber
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.replica import Following, Patch

LOOK_SECONDS = 0.1
LOOKS_PER_FILE = 10
"""The viewers' file is looked at once a second."""
SHUTDOWN_SECONDS = 1.0
KEEPALIVE_SECONDS = 75.0


HTTP_LOG = logging.getLogger("web.http")
HTTP_LOG.addFilter(lambda record: not _is_clients_fault(record))


def _is_clients_fault(record: logging.LogRecord) -> bool:
    """Anyone can send what is no HTTP, or break off: that is not worth a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


def clock() -> float:
    """Seconds that also count while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def run(
    settings: WebSettings,
    ready: Callable[[str], None] | None = None,
    context: zmq.Context[Any] | None = None,
    limits: ViewerLimits = ViewerLimits(),  # noqa: B008 - frozen
) -> None:
    """Serve until cancelled; `ready` is told the page's URL once it can be opened.

    OSError when the port cannot be bound, AccountsError when the viewers' file is refused,
    KeysError when the keys cannot be used. The context is needed for an inproc
    endpoint, and is left open.
    """
    allow_many_connections(limits.viewers)
    used = zmq.Context[Any]() if context is None else context
    try:
        await _Server(settings, used, limits).run(ready)
    finally:
        if context is None:
            used.term()


class _Server:
    """What belongs together in one run: the document, who may see it, who does."""

    def __init__(
        self, settings: WebSettings, context: zmq.Context[Any], limits: ViewerLimits
    ) -> None:
        self._settings = settings
        self._context = context
        outside = settings.updates_endpoint.startswith("tcp:")
        enrol = f"gpu-monitor keys add --web {socket.gethostname()}"
        self._lock = Lock(settings.keys, enrol) if outside else None
        self._assets = Assets()
        self._following = Following(self._about(), settings.rpc_timeout, clock())
        self._subscriber: Subscriber | None = None
        self._hub = Hub(self._following.document, clock, limits)
        self._accounts = Accounts(settings.viewers) if settings.viewers else None
        self._account_changes = 0
        peers = Peers(settings.trusted_proxies)
        names = Names(settings.web_hosts, peers, clock)
        self._signin = SignIn(settings, self._accounts, peers, names, clock)
        self._runner = web.AppRunner(
            self._app(peers),
            access_log=None,
            logger=HTTP_LOG,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )

    def _app(self, peers: Peers) -> web.Application:
        settings, signin = self._settings, self._signin
        form = Form(signin, peers, self._assets) if settings.sign_in == "token" else None
        gate = Gate(signin, Tickets(clock), form, settings.allowed_origins)
        page = Page(self._assets, self._tell_assets, public=settings.sign_in == "none")
        api = Api(self._following, clock, self._recent, gate.ticket_for, self._hub)
        return make_app(page, api, Handshake(self._hub, peers), gate, settings.base_path)

    async def run(self, ready: Callable[[str], None] | None) -> None:
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # since setup
        server.request_handler = answering_expect(server.request_handler)
        try:
            url = await _listen(self._runner, self._settings)
            self._subscriber = Subscriber(
                self._settings.updates_endpoint,
                self._context,
                self._following,
                self._publish,
                clock,
                self._lock,
            )
            if ready is not None:
                ready(url)
            await self._look(self._subscriber)
        finally:
            if self._subscriber is not None:
                self._subscriber.close()
            for site in self._runner.sites:
                await site.stop()
            await self._hub.close()
            await self._runner.cleanup()

    async def _look(self, subscriber: Subscriber) -> None:
        for look in itertools.count():
            await asyncio.sleep(LOOK_SECONDS)
            subscriber.look()
            self._hub.tick()
            if look % LOOKS_PER_FILE == 0:
                await self._look_at_viewers()

    async def _look_at_viewers(self) -> None:
        accounts = self._accounts
        if accounts is None:
            return
        accounts.refresh()
        if accounts.changes != self._account_changes:
            self._account_changes = accounts.changes
            await self._hub.dismiss(self._signin.holds)

    def _publish(self, patch: Patch | None) -> None:
        if patch is not None:
            self._hub.publish(self._following.document, patch)

    def _about(self) -> dict[str, Any]:
        """The member `web` of the document."""
        about: dict[str, Any] = {"version": __version__, "assets": self._assets.hash}
        if self._settings.warnings:
            about["warnings"] = list(self._settings.warnings)
        return about

    def _tell_assets(self) -> None:
        self._publish(self._following.tell_web(self._about()))

    async def _recent(self, name: str) -> dict[str, Any] | None:
        if self._subscriber is None:
            raise asyncio.TimeoutError
        return await self._subscriber.recent(name)


def allow_many_connections(viewers: int) -> None:
    """Raise the soft limit of open files, often 1,024, to what this many viewers need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = viewers + 1000 if hard == resource.RLIM_INFINITY else min(hard, viewers + 1000)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _listen(runner: web.AppRunner, settings: WebSettings) -> str:
    """Bind, and return the page's URL as this machine would open it."""
    # asyncio accepts as many at once as wait: fewer at a time keep the peak of memory low.
    site = web.TCPSite(
        runner, settings.web_bind or None, settings.web_port, backlog=256, reuse_address=True
    )
    await site.start()
    port = runner.addresses[0][1]
    host = settings.web_bind
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}{settings.base_path}/"
