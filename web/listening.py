"""The listening sockets: bind them, accept while there is room, and say so if there is not.

asyncio's own server tries to accept on while no file can be opened, and logs a traceback each time:
a full core and gigabytes of log while others wait.
"""

import asyncio
import os
import resource
import socket
from collections.abc import Callable

from gpu_monitor.web.places import Places
from gpu_monitor.web.rejections import CROWDED, Rejections
from gpu_monitor.web.settings import WebSettings

SPARE_FILES = 64
"""Open files that connections leave to the rest of the process: keys, viewers, other sockets."""
ACCEPT_BACKLOG = 256
ACCEPTS_AT_ONCE = 64
"""Connections accepted in one go; fewer keep the peak of memory low."""
PAUSE_SECONDS = 0.1
"""How long nothing is accepted where there is no room."""


def allow_connections(wanted: int) -> int:
    """How many of the wanted connections the limit of open files allows.

    The soft limit, often 1,024, is raised as far as that helps.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        files = min(hard, files)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(1, min(wanted, files - SPARE_FILES))


async def bind(settings: WebSettings) -> list[socket.socket]:
    """Sockets that listen on every address of `web_bind`, or OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        settings.web_bind or None,
        settings.web_port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            listener = socket.create_server(address, family=family, backlog=ACCEPT_BACKLOG)
            listener.setblocking(False)
            bound.append(listener)
    except OSError:
        for listener in bound:
            listener.close()
        raise
    return bound


def page_url(settings: WebSettings, port: int) -> str:
    """The URL of the page as seen from this machine."""
    host = settings.web_bind
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}{settings.base_path}/"


class Reception:
    """Accepts connections on `listeners` from its creation on, and keeps count of them.

    `make_protocol` receives the function to call once the connection is lost.
    """

    def __init__(
        self,
        listeners: list[socket.socket],
        make_protocol: Callable[[Callable[[], None]], asyncio.Protocol],
        places: Places,
        rejections: Rejections,
    ) -> None:
        self._listeners = listeners
        self._make_protocol = make_protocol
        self._places = places
        self._rejections = rejections
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._starting: set[asyncio.Task[None]] = set()
        self._resume()

    def close(self) -> None:
        """Accept no more; connections that are open stay open."""
        if self._retry is not None:
            self._retry.cancel()
        for task in self._starting:
            task.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()

    def _resume(self) -> None:
        self._retry = None
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _pause(self, why: str) -> None:
        """Leave new connections in the kernel's queue for a moment."""
        self._rejections.warn("pause", f"no new connections for now: {why}")
        for listener in self._listeners:
            self._loop.remove_reader(listener)
        self._retry = self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                if why := self._why_full(listener):
                    self._pause(why)
                    return
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause((error.strerror or str(error)).lower())
                return
            self._admit(connection, address[0])

    def _why_full(self, listener: socket.socket) -> str:
        """Why no one can be accepted; "" if someone can. OSError if no file can be opened at all.

        The kernel hands out the lowest free number, so the next one tells how many are in use.
        """
        if self._places.is_full:
            return f"all {self._places.total} places are taken"
        lowest_free = os.dup(listener.fileno())
        os.close(lowest_free)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit != resource.RLIM_INFINITY and lowest_free >= limit - SPARE_FILES:
            return f"{lowest_free} of {limit} files are open; raise the limit (LimitNOFILE)"
        return ""

    def _admit(self, connection: socket.socket, address: str) -> None:
        if why := self._places.occupy(address):
            self._rejections.count(CROWDED, why)
            connection.close()
            return
        task = self._loop.create_task(self._start(connection, address))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, connection: socket.socket, address: str) -> None:
        def make() -> asyncio.Protocol:
            return self._make_protocol(lambda: self._places.vacate(address))

        connection.setblocking(False)
        await self._loop.connect_accepted_socket(make, connection)
