"""PUSH to the broker: only the newest snapshot is ever queued."""

import logging
import time
from collections.abc import Callable

import zmq

from gpu_monitor.wire.curve.client import Lock

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
    share the connection. A `lock` has the keys. Without a `context` the pusher makes and ends its
    own. Used by one thread.
    """

    def __init__(
        self,
        endpoint: str,
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
        latest_only: bool = True,
        clock: Callable[[], float] = time.monotonic,
        lock: Lock | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._context = context if context is not None else zmq.Context()
        self._owns_context = context is None
        self._options = _ALWAYS | (_LATEST_ONLY if latest_only else {})
        self._clock = clock
        self._lock = lock
        self._ipv6 = "[" in endpoint
        self._reached: bool | None = None
        self._said: set[str] = set()
        self._pushed_before = False
        self._socket = self._connect()
        self._unconnected_since: float | None = None
        self._built_at = clock()

    def push(self, data: bytes) -> bool:
        """Hand `data` to the connection; False when there is none, and `data` is dropped."""
        if self._lock is not None and self._lock.is_changed():
            log.info("the keys have changed")
            self._rebuild(self._clock())
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
            self._said.clear()
            log.info("broker at %s reached", self._endpoint)
        return True

    def is_taken(self, wait_ms: int) -> bool:
        """Whether the broker takes messages, as soon as it does."""
        return bool(self._socket.poll(wait_ms, zmq.POLLOUT))

    def close(self) -> None:
        """Close at once; what is not sent yet is dropped."""
        self._close_socket()
        if self._owns_context:
            self._context.term()

    def _not_connected(self, now: float) -> None:
        if self._unconnected_since is None:
            self._unconnected_since = self._built_at = now
        if now - self._unconnected_since >= SAID_AFTER_SECONDS:
            self._reached = False
            self._say(self.why())
        if now - self._built_at >= (self._lock.patience if self._lock else REBUILD_SECONDS):
            if not self.why():  # a name may have either address; this one is not the broker's
                self._ipv6 = "[" in self._endpoint or not self._ipv6
            self._rebuild(now)

    def why(self) -> str:
        """Why the broker does not take the connection, in words; empty where nobody knows."""
        return self._lock.why() if self._lock is not None else ""

    def _say(self, why: str) -> None:
        """Each reason once, until the broker has been reached."""
        if why not in self._said:
            self._said.add(why)
            words = why or "trying on"
            log.warning("broker at %s not reachable, %s", self._endpoint, words)

    def _close_socket(self) -> None:
        if self._lock is not None:
            self._lock.take_off()
        self._socket.close(0)

    def _rebuild(self, now: float) -> None:
        self._close_socket()
        self._socket = self._connect()
        self._built_at = now

    def _connect(self) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.PUSH)
        for option, value in self._options.items():
            socket.setsockopt(option, value)
        socket.setsockopt(zmq.IPV6, int(self._ipv6))
        if self._lock is not None:
            self._lock.put_on(socket)
        socket.connect(self._endpoint)
        return socket
