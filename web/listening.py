"""The listening socket: bind it, log its errors, allow enough connections."""

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
log.addFilter(lambda record: not _is_clients_fault(record))


def _is_clients_fault(record: logging.LogRecord) -> bool:
    """Anyone can send malformed HTTP or hang up; neither is worth a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


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
