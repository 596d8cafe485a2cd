"""PUSH to the broker: only the newest snapshot is ever queued."""

import logging
import time
from collections.abc import Callable

import zmq

log = logging.getLogger(__name__)

REBUILD_SECONDS = 5.0
"""A socket that was not connected for this long is made anew.

libzmq never retries on a socket whose key the broker once refused, and it resolves a name's
first address only; a new socket heals both.
"""
FIRST_WAIT_MS = 200
SAID_AFTER_SECONDS = 1.0

_LATEST_ONLY = {zmq.CONFLATE: 1}
_ALWAYS = {
    zmq.IMMEDIATE: 1,  # nothing queued while unconnected: a broker that returns hears no past
    zmq.TCP_MAXRT: 3000,  # a cut link is given up: the kernel would deliver messages 27 s old
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 2000,
    zmq.LINGER: 0,
}


class Pusher:
    """One connection to the broker's intake at `endpoint` (`tcp://host:port` or `inproc://name`).

    With `latest_only` a new message replaces one that is still waiting; without, many hosts may
    share the connection. Without a `context` the pusher makes and ends its own. Used by one
    thread.
    """

    def __init__(
        self,
        endpoint: str,
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
        latest_only: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._context = context if context is not None else zmq.Context()
        self._owns_context = context is None
        self._options = _ALWAYS | (_LATEST_ONLY if latest_only else {})
        self._clock = clock
        self._ipv6 = "[" in endpoint
        self._reached: bool | None = None
        self._pushed_before = False
        self._socket = self._connect()
        self._unconnected_since: float | None = None
        self._built_at = clock()

    def push(self, data: bytes) -> bool:
        """Hand `data` to the connection; False when there is none, and `data` is dropped."""
        if not self._pushed_before:  # give a first connection its moment: no idle first interval
            self._pushed_before = True
            self._socket.poll(FIRST_WAIT_MS, zmq.POLLOUT)
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            self._not_connected(self._clock())
            return False
        self._unconnected_since = None
        if self._reached is not True:
            self._reached = True
            log.info("broker at %s reached", self._endpoint)
        return True

    def close(self) -> None:
        """Close at once; what is not sent yet is dropped."""
        self._socket.close(0)
        if self._owns_context:
            self._context.term()

    def _not_connected(self, now: float) -> None:
        if self._unconnected_since is None:
            self._unconnected_since = self._built_at = now
        if self._reached is not False and now - self._unconnected_since >= SAID_AFTER_SECONDS:
            self._reached = False
            log.warning("broker at %s not reachable, trying on", self._endpoint)
        if now - self._built_at >= REBUILD_SECONDS:
            self._rebuild(now)

    def _rebuild(self, now: float) -> None:
        self._socket.close(0)
        self._ipv6 = "[" in self._endpoint or not self._ipv6  # a name may have either address
        self._socket = self._connect()
        self._built_at = now

    def _connect(self) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.PUSH)
        for option, value in self._options.items():
            socket.setsockopt(option, value)
        socket.setsockopt(zmq.IPV6, int(self._ipv6))
        socket.connect(self._endpoint)
        return socket
