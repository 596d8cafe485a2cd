"""PULL: bytes of a peer become a snapshot of a host; what is refused is counted by reason."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

import zmq

from broker.fleet import Fleet
from broker.identity import Directory, choose
from wire.check import MAX_MESSAGE_BYTES, WireError, check_snapshot
from wire.codec import unpack
from wire.template import make_template

_QUEUED_MESSAGES = 16
"""Per peer; beyond it TCP slows the peer down, so one that floods costs no memory."""
_RECEIVE_BYTES = 1 << 17
"""The kernel's part of that queue: after a pause what waits is old, and still has to be read."""
_MESSAGES_PER_TURN = 64
"""Then the event loop has its turn: a backlog must not hold up the tick."""
_PAUSE_SECONDS = 0.002
"""After a look that found something, until the next: waking for each message would cost as much
as the message."""
_MAX_LOGGED = 256
_LOG_AGAIN_SECONDS = 3600.0

_INSIDE = "this process"
_NAME_KEY = b"\xa4name"
_NAME_WITHIN = 64

log = logging.getLogger(__name__)


class Refusals:
    """Counts what is refused. Each pair of reason and peer is logged once an hour at most."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._logged: dict[tuple[str, str], float] = {}

    def add(self, reason: str, peer: str, detail: str, now: float) -> None:
        """`now` is any steady clock in seconds."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        key = (reason, peer)
        logged_at = self._logged.get(key)
        if logged_at is not None and now - logged_at < _LOG_AGAIN_SECONDS:
            return
        if logged_at is None and len(self._logged) >= _MAX_LOGGED:
            return
        self._logged[key] = now
        log.warning("refused a message from %s: %s (%s)", peer, reason, ascii(detail)[1:-1])
        if len(self._logged) == _MAX_LOGGED:
            log.warning("further refusals are only counted, see broker.refused")


class Intake:
    """The socket that collectors push to, read on the event loop without a task per message."""

    def __init__(
        self,
        endpoints: Iterable[str],
        context: zmq.Context[zmq.Socket[bytes]],
        fleet: Fleet,
        directory: Directory,
        unknown: Callable[[], object],
    ) -> None:
        """`unknown` is called when a peer is refused for its address: perhaps a name has moved."""
        self.refusals = Refusals()
        self._fleet = fleet
        self._directory = directory
        self._unknown = unknown
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = context.socket(zmq.PULL)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, _QUEUED_MESSAGES),
            (zmq.RCVBUF, _RECEIVE_BYTES),
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES),
            (zmq.BACKLOG, 4096),
            (zmq.HANDSHAKE_IVL, 10_000),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 30),
            (zmq.TCP_KEEPALIVE_INTVL, 10),
            (zmq.TCP_KEEPALIVE_CNT, 3),
        ):
            self._socket.setsockopt(option, value)
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
        """Takes what is there, but no more than a turn's worth, and comes back, also after an
        error; waits for the FD once there was nothing."""
        if self._loop is None or self._socket.closed:
            return
        receive, taken, again = self._socket.recv, 0, 0.0
        try:
            while taken < _MESSAGES_PER_TURN:
                frame = receive(zmq.NOBLOCK, copy=False)
                taken += 1
                self._take(frame)
        except zmq.Again:
            again = _PAUSE_SECONDS
        finally:
            if again and not taken:
                self._loop.add_reader(self._socket.fileno(), self._wake)
            else:
                self._loop.call_later(again, self._drain)

    def _take(self, frame: zmq.Frame) -> None:
        try:
            peer = str(frame.get("Peer-Address"))
        except zmq.ZMQError:  # inproc has no address: the peer is this process
            peer = ""
        received = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            if frame.more:
                self._skip_parts()
                raise WireError("parts", "a message of several parts")
            reason = self._hear(frame, peer, received)
            detail = "a sample that is not shown"
        except WireError as error:
            reason, detail = error.reason, str(error)
        if reason is not None:
            self.refusals.add(reason, peer or _INSIDE, detail, received)

    def _skip_parts(self) -> None:
        while self._socket.recv(zmq.NOBLOCK, copy=False).more:
            pass

    def _hear(self, frame: zmq.Frame, peer: str, received: float) -> str | None:
        entries = self._directory.entries(peer) if peer else ()
        if peer and not entries:
            self._unknown()
            raise WireError("unknown host", "no entry of hosts has this address; behind NAT: keys")
        data = frame.bytes
        sent = name_in(data)
        record = self._fleet.records.get(self._name(peer, entries, sent)) if sent else None
        if record is None or record.template is None or record.read is None:
            return self._hear_in_full(data, peer, entries, received)
        snapshot = record.template.read(data, record.read)
        if snapshot is None:
            return self._hear_in_full(data, peer, entries, received)
        record.read = snapshot
        return self._fleet.hear(record.name, snapshot, received, time.time(), peer or _INSIDE)

    def _hear_in_full(
        self, data: bytes, peer: str, entries: tuple[str, ...], received: float
    ) -> str | None:
        message = unpack(data)
        sent = message.get("name") if type(message) is dict else None
        if type(message) is not dict or type(sent) is not str:
            raise WireError("name", "the name is missing")
        name = self._name(peer, entries, sent)
        fleet = self._fleet
        record = fleet.records.get(name)
        snapshot = check_snapshot(message, record.read if record is not None else None)
        refusal = fleet.hear(name, snapshot, received, time.time(), peer or _INSIDE)
        record = fleet.records.get(name)
        if record is not None and record.is_of_run(snapshot):
            record.read, record.template = snapshot, make_template(data, message)
        return refusal

    def _name(self, peer: str, entries: tuple[str, ...], sent: str) -> str:
        name = choose(entries, sent) if peer else self._directory.own_name(sent)
        return name if name is not None else sent


def name_in(data: bytes) -> str:
    """The name that a packed snapshot seems to hold, found without unpacking; else empty."""
    at = data.find(_NAME_KEY, 0, _NAME_WITHIN) + len(_NAME_KEY)
    if at < len(_NAME_KEY) or at + 1 >= len(data):
        return ""
    size = data[at] & 31 if data[at] >> 5 == 5 else data[at + 1]
    at += 1 if data[at] >> 5 == 5 else 2
    return data[at : at + size].decode("ascii", "replace")
