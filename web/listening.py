"""The listening socket: bind it, allow enough connections, log no errors of clients."""

import logging
import resource
import socket

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gpu_monitor.web.settings import WebSettings

SPARE_FILES = 1_000
"""Open files beside those of the viewers."""
ACCEPT_BACKLOG = 256
"""asyncio accepts this many connections at once; fewer keep the peak of memory low."""

log = logging.getLogger(__name__)


def log_no_client_errors() -> None:
    """Keep aiohttp from logging what any client can cause.

    Malformed HTTP and hanging up are not worth a traceback, nor a websocket's handshake that
    offers only a ticket a warning.
    """
    log.addFilter(_is_not_client_error)
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def _is_not_client_error(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


def allow_many_connections(viewers: int) -> None:
    """Raise the soft limit of open files, often 1,024, to what this many viewers need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = viewers + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def listen(runner: web.AppRunner, settings: WebSettings) -> str:
    """Bind, and return the URL of the page as seen from this machine."""
    site = web.TCPSite(
        runner,
        settings.web_bind or None,
        settings.web_port,
        backlog=ACCEPT_BACKLOG,
        reuse_address=True,
    )
    await site.start()
    port = runner.addresses[0][1]
    host = settings.web_bind
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}{settings.base_path}/"
