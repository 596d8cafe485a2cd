"""PULL: the collectors' messages, the newest of each host first in line."""

import asyncio
import time
from collections.abc import Iterable

import zmq

from gpu_monitor.broker.ingest import INSIDE, Hearing, name_in
from gpu_monitor.broker.load_stats import Load
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.curve.keys import HOSTS
from gpu_monitor.wire.curve.server import CURVE_BYTES, Gate, peer_with_key
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES

_QUEUED_MESSAGES = 16
"""Per peer; beyond it TCP slows the peer down, so one that floods costs no memory."""
_RECEIVE_BYTES = 1 << 17
"""The kernel's part of that queue: after a pause what waits is old, and still has to be read."""
_RECEIVED_PER_TURN = 256
_HEARD_PER_TURN = 64
_TURN_SECONDS = 0.02
"""Then the event loop has its turn: neither a backlog nor messages that are hard to read (the
largest take a tenth of a second) may hold up the tick."""
_MAX_WAITING = 16_384
_MAX_WAITING_BYTES = 1 << 27
"""Room for a message of each host of the largest fleet; beyond it nothing more is received."""


class Intake:
    """The socket that collectors push to, read on the event loop without a task per message.

    What is received waits for its turn, and a host's newer message takes the place of an older
    one: a broker that cannot keep up hears each host less often, but nothing out of date. One
    that sends without end has one message in line for each host that it may speak for.
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        context: zmq.Context[zmq.Socket[bytes]],
        hearing: Hearing,
        load: Load,
        gate: Gate | None = None,
        pause: float = 0.0,
    ) -> None:
        """With a gate only collectors that it lets in are heard, but for those inside.

        `pause` is how many seconds pass after a look that found something until the next:
        waking for each message would cost as much as the message.
        """
        self._hearing = hearing
        self._load = load
        self._gate = gate
        self._pause = pause
        self._waiting: dict[tuple[str, str], tuple[bytes, float]] = {}
        self._waiting_bytes = 0
        self._unnamed = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = context.socket(zmq.PULL)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, _QUEUED_MESSAGES),
            (zmq.RCVBUF, _RECEIVE_BYTES),
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES + (CURVE_BYTES if gate else 0)),
            (zmq.BACKLOG, 4096),
            (zmq.HANDSHAKE_IVL, 10_000),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 30),
            (zmq.TCP_KEEPALIVE_INTVL, 10),
            (zmq.TCP_KEEPALIVE_CNT, 3),
        ):
            self._socket.setsockopt(option, value)
        if gate is not None:
            gate.guard(self._socket, HOSTS)
        try:
            for endpoint in endpoints:
                self._socket.setsockopt(zmq.IPV6, int("[" in endpoint or "//*" in endpoint))
                self._socket.bind(endpoint)
        except zmq.ZMQError:
            self._socket.close()
            raise

    def endpoint(self) -> str:
        """The last endpoint bound, with the real port where 0 or * was asked for."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.call_soon(self._drain)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _wake(self) -> None:
        """The FD tells of what comes to an empty socket, and would tell again and again until
        it is read: from here on the clock looks, until there is nothing more."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._drain()

    def _drain(self) -> None:
        """Does a turn's worth and comes back, also after an error; waits for the FD once there
        was nothing."""
        if self._loop is None or self._socket.closed:
            return
        received, pause = 1, 0.0
        try:
            received = self._receive()
            if self._hear() and received < _RECEIVED_PER_TURN:
                pause = self._pause
        finally:
            if received or self._waiting:
                self._loop.call_later(pause, self._drain)
            else:
                self._loop.add_reader(self._socket.fileno(), self._wake)

    def _receive(self) -> int:
        """Moves messages from the socket to those that wait; how many came."""
        count = 0
        try:
            while count < _RECEIVED_PER_TURN and self._has_room():
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                count += 1
                self._take(frame)
        except zmq.Again:
            pass
        self._load.received(count, len(self._waiting))
        return count

    def _has_room(self) -> bool:
        return len(self._waiting) < _MAX_WAITING and self._waiting_bytes < _MAX_WAITING_BYTES

    def _take(self, frame: zmq.Frame) -> None:
        peer = self._peer(frame)
        received = boottime()
        if frame.more:
            while self._socket.recv(zmq.NOBLOCK, copy=False).more:
                pass
            self._hearing.refusals.add("parts", peer or INSIDE, "it has several parts", received)
        elif self._hearing.admits(peer, received):
            self._put_in_line(frame.bytes, peer, received)
        elif self._gate is not None:
            self._gate.cut(frame)

    def _put_in_line(self, data: bytes, peer: str, received: float) -> None:
        host = self._hearing.host(peer, name_in(data))
        if not host:  # whose it is will be told by the whole of it: it takes nobody's place
            self._unnamed += 1
        key = (peer, host or f"?{self._unnamed}")
        if key in self._waiting:
            self._waiting_bytes -= len(self._waiting[key][0])
            self._load.overtaken += 1
        self._waiting[key] = (data, received)
        self._waiting_bytes += len(data)

    def _peer(self, frame: zmq.Frame) -> str:
        try:
            address = str(frame.get("Peer-Address"))
        except zmq.ZMQError:  # inproc has no address: the peer is this process
            return ""
        return address if self._gate is None else peer_with_key(address, str(frame.get("User-Id")))

    def _hear(self) -> bool:
        """Hears those who wait longest; whether none is left."""
        waiting = self._waiting
        until = time.monotonic() + _TURN_SECONDS
        for _ in range(min(_HEARD_PER_TURN, len(waiting))):
            key = peer, host = next(iter(waiting))
            data, received = waiting.pop(key)
            self._waiting_bytes -= len(data)
            self._hearing.hear(data, host, peer, received)
            if time.monotonic() > until:
                break
        return not waiting
