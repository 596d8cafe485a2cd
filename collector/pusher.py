"""Snapshots pushed to the broker; only the newest one is ever queued."""

import logging
import time
from collections.abc import Callable

import zmq

from gpu_monitor.wire.curve.client import Lock

log = logging.getLogger(__name__)

PUSH_REBUILD_SECONDS = 5.0
"""A socket that has been unconnected for this long is replaced by a new one.

libzmq never retries on a socket whose key the broker once refused, and it only ever uses the first
address of a name; a new socket solves both.
"""
FIRST_PUSH_WAIT_MS = 200
UNREACHABLE_SECONDS = 1.0
"""A broker that has been unreachable for this long is logged."""
LEAST_SEND_BYTES = 1 << 13
"""The kernel's send buffer, of which it grants twice as much. It holds the largest snapshot once or
twice, so that a line that is too thin delays few of them, and CONFLATE leaves out the others."""

_LATEST_ONLY = {zmq.CONFLATE: 1}
_ALWAYS = {
    zmq.IMMEDIATE: 1,  # nothing is queued while unconnected: a broker that returns gets no past
    zmq.TCP_MAXRT: 3000,  # give up a cut link: the kernel would deliver messages 27 s old
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 2000,
    zmq.LINGER: 0,
}


class Pusher:
    """One connection to the broker's intake at `endpoint` (`tcp://host:port` or `inproc://name`).

    With `latest_only` a new message replaces one that is still waiting; without it, many hosts may
    share the connection. `lock` holds the keys, if the connection is to use them. Without a
    `context` the pusher makes and ends its own. The first push waits up to `first_wait_ms` for the
    connection. For one thread.
    """

    def __init__(
        self,
        endpoint: str,
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
        latest_only: bool = True,
        clock: Callable[[], float] = time.monotonic,
        lock: Lock | None = None,
        first_wait_ms: int = FIRST_PUSH_WAIT_MS,
    ) -> None:
        self._endpoint = endpoint
        self._context = context if context is not None else zmq.Context()
        self._owns_context = context is None
        self._options = _ALWAYS | (_LATEST_ONLY if latest_only else {})
        if latest_only and endpoint.startswith("tcp:"):
            self._options[zmq.SNDBUF] = LEAST_SEND_BYTES
        self._clock = clock
        self._lock = lock
        self._first_wait_ms: int | None = first_wait_ms
        self._ipv6 = "[" in endpoint
        self._reached: bool | None = None
        self._logged: set[str] = set()
        self._socket = self._connect()
        self._unconnected_since: float | None = None
        self._built_at = clock()

    def push(self, data: bytes) -> bool:
        """Queue `data`; False where there is no connection, and `data` is dropped.

        A socket that could not be made, where descriptors are exhausted, is made by a later push.
        """
        try:
            if self._socket.closed:
                self._rebuild(self._clock())
            return self._push(data)
        except zmq.ContextTerminated:
            raise
        except zmq.ZMQError as error:
            self._warn_once(str(error).lower())
            return False

    def _push(self, data: bytes) -> bool:
        if self._lock is not None and self._lock.is_changed():
            log.info("the keys have changed")
            self._rebuild(self._clock())
        if len(data) > self._options.get(zmq.SNDBUF, len(data)):
            self._enlarge_buffer(len(data))
        if self._first_wait_ms is not None:  # time to connect, so that the first one arrives too
            self._socket.poll(self._first_wait_ms, zmq.POLLOUT)
            self._first_wait_ms = None
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            self._handle_unconnected(self._clock())
            return False
        self._unconnected_since = None
        if self._reached is not True:
            self._reached = True
            self._logged.clear()
            log.info("broker at %s connected", self._endpoint)
        return True

    def _enlarge_buffer(self, size: int) -> None:
        """The kernel takes a buffer's size when it connects, so this takes a new connection: a few
        at most, as the size doubles."""
        self._options[zmq.SNDBUF] = 1 << (size - 1).bit_length()
        self._rebuild(self._clock())
        if self._reached:
            self._first_wait_ms = FIRST_PUSH_WAIT_MS

    def is_connected(self, wait_ms: int) -> bool:
        """Whether the broker accepts messages within `wait_ms`."""
        return bool(self._socket.poll(wait_ms, zmq.POLLOUT))

    def close(self) -> None:
        """Close at once; a message that is not sent yet is dropped."""
        self._close_socket()
        if self._owns_context:
            self._context.term()

    def _handle_unconnected(self, now: float) -> None:
        if self._unconnected_since is None:
            self._unconnected_since = self._built_at = now
        if now - self._unconnected_since >= UNREACHABLE_SECONDS:
            self._reached = False
            self._warn_once(self.why())
        if now - self._built_at >= (self._lock.patience if self._lock else PUSH_REBUILD_SECONDS):
            if not self.why():  # the name may have an address of the other family too
                self._ipv6 = "[" in self._endpoint or not self._ipv6
            self._rebuild(now)

    def why(self) -> str:
        """Why the broker rejects the connection, in words; empty where that is not known."""
        return self._lock.why() if self._lock is not None else ""

    def _warn_once(self, why: str) -> None:
        """Each reason is logged once, until the broker has been reached."""
        if why not in self._logged:
            self._logged.add(why)
            log.warning("broker at %s not reachable: %s", self._endpoint, why or "retrying")

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
