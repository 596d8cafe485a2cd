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

from wire import __version__
from wire.lock import Lock

from .accounts import Accounts
from .api import Api
from .assets import Assets
from .following import Following, Patch
from .form import Form
from .gate import Gate
from .hub import MAX_VIEWERS, Hub
from .live import Live
from .names import Names
from .peer import Peers
from .server import Page, answering_expect, make_app
from .settings import WebSettings
from .signin import SignIn
from .subscriber import Subscriber
from .tickets import Tickets

LOOK_SECONDS = 0.1
LOOKS_PER_FILE = 10
"""The viewers' file is looked at once a second."""
SHUTDOWN_SECONDS = 1.0
KEEPALIVE_SECONDS = 75.0


HTTP_LOG = logging.getLogger("web.http")
HTTP_LOG.addFilter(lambda record: not _is_bad_request(record))


def _is_bad_request(record: logging.LogRecord) -> bool:
    """Anyone can send what is no HTTP: that is answered, and not worth a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, HttpProcessingError)


def _about(assets: Assets, settings: WebSettings) -> dict[str, Any]:
    about: dict[str, Any] = {"version": __version__, "assets": assets.hash}
    if settings.warnings:
        about["warnings"] = list(settings.warnings)
    return about


def clock() -> float:
    """Seconds that also count while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def run(
    settings: WebSettings,
    ready: Callable[[str], None] | None = None,
    context: zmq.Context[Any] | None = None,
) -> None:
    """Serve until cancelled; `ready` is told the page's URL once it can be opened.

    OSError when the port cannot be bound, AccountsError when the viewers' file is refused,
    wire.keyring.KeysError when the keys cannot be used. The context is needed for an inproc
    endpoint.
    """
    allow_many_connections()
    assets = Assets()
    following = Following(_about(assets, settings), settings.rpc_timeout, clock())
    hub = Hub(following.document, clock)

    def publish(patch: Patch | None) -> None:
        if patch is not None:
            hub.publish(following.document, patch)

    def tell_assets() -> None:
        publish(following.tell_web(_about(assets, settings)))

    async def recent(name: str) -> dict[str, Any] | None:
        if subscriber is None:
            raise asyncio.TimeoutError
        return await subscriber.recent(name)

    subscriber: Subscriber | None = None
    changes = 0
    accounts = Accounts(settings.viewers) if settings.viewers else None
    peers = Peers(settings.trusted_proxies)
    names = Names(settings.web_hosts, peers, clock)
    signin = SignIn(settings, accounts, peers, names, clock)
    form = Form(signin, peers, assets) if settings.sign_in == "token" else None
    gate = Gate(signin, Tickets(clock), form, settings.allowed_origins)
    page = Page(assets, tell_assets, public=settings.sign_in == "none")
    api = Api(following, clock, recent, gate.ticket_for, hub)
    app = make_app(page, api, Live(hub, peers), gate, settings.base_path)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=HTTP_LOG,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    own_context = zmq.Context() if context is None else None
    outside = settings.updates_endpoint.startswith("tcp:")
    enrol = f"gpu-monitor keys add --web {socket.gethostname()}"
    lock = Lock(settings.keys, enrol) if outside else None
    await runner.setup()
    server = runner.server
    assert server is not None  # since setup
    server.request_handler = answering_expect(server.request_handler)
    try:
        url = await _listen(runner, settings)
        subscriber = Subscriber(
            settings.updates_endpoint,
            context or own_context or zmq.Context.instance(),
            following,
            publish,
            clock,
            lock,
        )
        if ready is not None:
            ready(url)
        for look in itertools.count():
            await asyncio.sleep(LOOK_SECONDS)
            subscriber.look()
            hub.look()
            if accounts is not None and look % LOOKS_PER_FILE == 0:
                accounts.refresh()
            if accounts is not None and accounts.changes != changes:
                changes = accounts.changes
                hub.dismiss(signin.holds)
    finally:
        if subscriber is not None:
            subscriber.close()
        for site in runner.sites:
            await site.stop()
        await hub.close()
        await runner.cleanup()
        if own_context is not None:
            own_context.term()


def allow_many_connections() -> None:
    """Raise the soft limit of open files, often 1,024, to what all viewers need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, MAX_VIEWERS + 1000) if hard != resource.RLIM_INFINITY else MAX_VIEWERS + 1000
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
