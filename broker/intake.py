"""PULL: the collectors' messages, of each host only the newest."""

import asyncio
import time
from collections.abc import Iterable

import zmq

from gpu_monitor.broker.ingest import INSIDE, Ingest, name_in
from gpu_monitor.broker.load_stats import Load
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.curve.keys import HOSTS
from gpu_monitor.wire.curve.server import CURVE_BYTES, CurveServer, cut, peer_with_key
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES

_QUEUED_MESSAGES = 16
"""Per peer; beyond it TCP slows the peer down, so that a flood takes no memory."""
_RECEIVE_BYTES = 1 << 17
"""The kernel's part of that queue: after a pause its messages are old but must still be read."""
_MAX_RECEIVED_PER_TURN = 256
_MAX_INGESTED_PER_TURN = 64
_TURN_SECONDS = 0.02
"""After this the event loop continues: neither a backlog nor slow messages (the largest take a
tenth of a second) may delay the tick."""
_MAX_WAITING_MESSAGES = 16_384
_MAX_WAITING_BYTES = 1 << 27
"""Room for one message of each host of the largest fleet; when it is full, receiving stops."""


class Intake:
    """The socket that collectors push to, read on the event loop without a task per message.

    Received messages wait for their turn, and a host's newer message replaces an older one: a
    broker that cannot keep up reads each host less often, but never falls behind. A peer that
    floods has one message waiting for each host that it may report for.
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        context: zmq.Context[zmq.Socket[bytes]],
        ingest: Ingest,
        load: Load,
        auth: CurveServer | None = None,
        pause: float = 0.0,
    ) -> None:
        """With `auth`, a collector must have an enrolled key or be in this process.

        `pause` is the number of seconds between two reads of a busy socket: waking up for every
        message would cost as much as the message.
        """
        self._ingest = ingest
        self._load = load
        self._auth = auth
        self._pause = pause
        self._waiting: dict[tuple[str, str], tuple[bytes, float]] = {}
        self._waiting_bytes = 0
        self._unnamed = 0
        self._more = False
        """Whether the next frame belongs to a message that has been refused."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = context.socket(zmq.PULL)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, _QUEUED_MESSAGES),
            (zmq.RCVBUF, _RECEIVE_BYTES),
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES + (CURVE_BYTES if auth else 0)),
            (zmq.BACKLOG, 4096),
            (zmq.HANDSHAKE_IVL, 10_000),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 30),
            (zmq.TCP_KEEPALIVE_INTVL, 10),
            (zmq.TCP_KEEPALIVE_CNT, 3),
        ):
            self._socket.setsockopt(option, value)
        if auth is not None:
            auth.guard(self._socket, HOSTS)
        try:
            for endpoint in endpoints:
                self._socket.setsockopt(zmq.IPV6, int("[" in endpoint or "//*" in endpoint))
                self._socket.bind(endpoint)
        except zmq.ZMQError:
            self._socket.close()
            raise

    def endpoint(self) -> str:
        """The last endpoint bound, with its real port if 0 or * was requested."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.call_soon(self._drain)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _wake(self) -> None:
        """Stops watching the file descriptor, which stays readable until the socket is drained, and
        reads by the clock instead until the socket is empty."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._drain()

    def _drain(self) -> None:
        """Reads and ingests for one turn, and schedules the next one, even after an error; watches
        the file descriptor once there was nothing to do."""
        if self._loop is None or self._socket.closed:
            return
        received, pause = 1, 0.0
        try:
            received = self._receive()
            if self._ingest_waiting() and received < _MAX_RECEIVED_PER_TURN:
                pause = self._pause
        finally:
            if received or self._waiting:
                self._loop.call_later(pause, self._drain)
            else:
                self._loop.add_reader(self._socket.fileno(), self._wake)

    def _receive(self) -> int:
        """Moves messages from the socket to the waiting ones; how many frames there were."""
        frames = messages = 0
        until = time.monotonic() + _TURN_SECONDS
        try:
            while frames < _MAX_RECEIVED_PER_TURN and self._has_room():
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                frames += 1
                messages += not self._more
                self._accept_frame(frame)
                if time.monotonic() > until:
                    break
        except zmq.Again:
            pass
        self._load.count_received(messages, len(self._waiting))
        return frames

    def _has_room(self) -> bool:
        return (
            len(self._waiting) < _MAX_WAITING_MESSAGES and self._waiting_bytes < _MAX_WAITING_BYTES
        )

    def _accept_frame(self, frame: zmq.Frame) -> None:
        continues, self._more = self._more, bool(frame.more)
        if continues:
            return
        peer = self._peer(frame)
        received = boottime()
        if frame.more:
            self._ingest.refusals.add("parts", peer or INSIDE, "it has several parts", received)
        elif self._ingest.admits(peer, received):
            self._enqueue(frame.bytes, peer, received)
        elif self._auth is not None:
            cut(frame)

    def _enqueue(self, data: bytes, peer: str, received: float) -> None:
        host = self._ingest.host_of(peer, name_in(data))
        if not host:  # known only once it is read: until then it replaces no other message
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
        except zmq.ZMQError:  # inproc has no address: the peer is in this process
            return ""
        return address if self._auth is None else peer_with_key(address, str(frame.get("User-Id")))

    def _ingest_waiting(self) -> bool:
        """Ingests the messages that have waited longest; whether none is left."""
        waiting = self._waiting
        until = time.monotonic() + _TURN_SECONDS
        for _ in range(min(_MAX_INGESTED_PER_TURN, len(waiting))):
            key = next(iter(waiting))
            data, received = waiting.pop(key)
            self._waiting_bytes -= len(data)
            self._ingest.ingest(data, key[0], received)
            if time.monotonic() > until:
                break
        return not waiting
