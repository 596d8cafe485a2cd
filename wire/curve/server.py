"""The gate of both links: who may connect by key, who is counted as refused, who is cut off."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import zmq
from zmq.utils import z85

from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.curve.enrolled_keys import Enrolled
from gpu_monitor.wire.curve.keys import HOSTS, WEBS
from gpu_monitor.wire.curve.monitor import Handshakes

UNKNOWN_KEY = "unknown key"
"""The reason for which a peer with a key that is not enrolled is refused."""
CURVE_BYTES = 1024
"""What encryption may add to the size of a message, and more."""

_PER_TURN = 256
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_WITHOUT_KEYS = 0x11000002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
_WRONG_BROKER = 0x11000001  # ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
_REASONS = {
    _WITHOUT_KEYS: ("no key", "its config.yml names no keys"),
    _WRONG_BROKER: ("wrong broker key", "its broker.pub is not this broker's own.pub"),
}
_OTHER = {HOSTS: WEBS, WEBS: HOSTS}
_COMMAND = {HOSTS: "gpu-monitor keys add NAME", WEBS: "gpu-monitor keys add --web NAME"}

Refuse: TypeAlias = Callable[[str, str, str, float], None]
"""Counts and logs a refusal: reason, peer, detail, and the boot clock."""


def peer_with_key(address: str, key: str) -> str:
    """A peer that has a public key: what the log calls it, too."""
    return f"{address} with key {key}"


class Gate:
    """Answers libzmq's question about each connection (ZAP, ZeroMQ RFC 27) on the event loop.

    libzmq asks only when a connection is made. So that a key that was revoked is out at once,
    intake and publisher ask again with each message, and a connection may be cut.
    """

    def __init__(
        self,
        folder: str,
        context: "zmq.Context[zmq.Socket[bytes]]",
        own_name: str,
        refuse: Refuse,
    ) -> None:
        """KeysError when the broker's own pair cannot be read."""
        self._enrolled = Enrolled(folder, own_name)
        self._refuse = refuse
        self._subscribers: dict[int, tuple[str, object]] = {}
        """By descriptor: the key, and the address and port, that it was last heard from."""
        self._handshakes: list[tuple[str, Handshakes]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = context.socket(zmq.REP)
        self._asked.setsockopt(zmq.LINGER, 0)
        self._asked.bind("inproc://zeromq.zap.01")

    def guard(self, guarded: "zmq.Socket[bytes]", kind: str) -> None:
        """From its next bind on, the socket admits only keys of that kind (HOSTS or WEBS)."""
        guarded.setsockopt(zmq.CURVE_SERVER, 1)
        guarded.setsockopt(zmq.CURVE_SECRETKEY, self._enrolled.own.secret.encode())
        guarded.setsockopt(zmq.ZAP_DOMAIN, kind.encode())
        guarded.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an answer nobody is admitted
        self._handshakes.append((kind, Handshakes(guarded, _FAILURES)))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for descriptor, read in self._readers():
            loop.add_reader(descriptor, read)
            read()

    def close(self) -> None:
        """Before the guarded sockets are closed: they let nobody in any more."""
        for descriptor, _ in self._readers():
            if self._loop is not None:
                self._loop.remove_reader(descriptor)
        for _, handshakes in self._handshakes:
            handshakes.close()
        self._asked.close(0)

    def hosts(self) -> Iterable[str]:
        """Who is expected to report."""
        return self._enrolled.names(HOSTS)

    def host(self, key: str) -> str | None:
        """The host that a public key was issued for; None: it may not report."""
        return self._enrolled.name(HOSTS, key)

    def look(self, now: float) -> bool:
        """Looks at the folder, cuts off subscribers that were revoked; whether anybody came or
        went. `now` is the boot clock."""
        if not self._enrolled.look(now):
            return False
        for descriptor, (key, peer) in list(self._subscribers.items()):
            if self._enrolled.name(WEBS, key) is None:
                del self._subscribers[descriptor]
                _cut(descriptor, peer)
        return True

    def lets_listen(self, frame: zmq.Frame) -> bool:
        """Whether a subscription is one that is to be answered; if it is not, it is cut off."""
        try:
            key = str(frame.get("User-Id"))
        except zmq.ZMQError:  # from inside this process, or of one that has gone
            return True
        descriptor = int(frame.get(zmq.SRCFD))
        peer = _peer(descriptor)
        if self._enrolled.name(WEBS, key) is not None:
            self._subscribers[descriptor] = (key, peer)
            return True
        self.cut(frame)
        return False

    def cut(self, frame: zmq.Frame) -> None:
        """Ends the connection that a message came by, so that its sender learns of it."""
        descriptor = int(frame.get(zmq.SRCFD))
        peer = _peer(descriptor)
        if peer and peer[0] == frame.get("Peer-Address"):
            _cut(descriptor, peer)

    def _readers(self) -> list[tuple[int, Callable[[], None]]]:
        return [
            (self._asked.fileno(), self._answer),
            *((handshakes.fileno(), self._count_failures) for _, handshakes in self._handshakes),
        ]

    def _answer(self) -> None:
        """A turn's worth of libzmq's questions; the rest once others had their turn."""
        for _ in range(_PER_TURN):
            try:
                version, request, domain, address, _, mechanism, *credentials = (
                    self._asked.recv_multipart(zmq.NOBLOCK)
                )
            except zmq.Again:
                return
            known = mechanism == b"CURVE" and len(credentials) == 1
            key = z85.encode(credentials[0]).decode() if known else ""
            admitted = self._admits(domain.decode(), address.decode(), key)
            status = (b"200", b"OK") if admitted else (b"400", b"unknown key")
            self._asked.send_multipart([version, request, *status, key.encode(), b""])
        if self._loop is not None:
            self._loop.call_soon(self._answer)

    def _admits(self, kind: str, address: str, key: str) -> bool:
        enrolled = self._enrolled
        if kind in _OTHER and key and enrolled.name(kind, key) is not None:
            return True
        other = enrolled.name(_OTHER.get(kind, HOSTS), key)
        why = f"it is enrolled in {_OTHER[kind]} as {other} only" if other else "it is not enrolled"
        detail = f"{why}; to let it in: {_COMMAND[kind]} --public='{key}'"
        self._refuse(UNKNOWN_KEY, peer_with_key(address, key), detail, boottime())
        return False

    def _count_failures(self) -> None:
        for kind, handshakes in self._handshakes:
            for _, code in handshakes.read():
                if code in _REASONS:
                    reason, detail = _REASONS[code]
                    self._refuse(reason, f"somebody at the port for {kind}", detail, boottime())


@contextlib.contextmanager
def _connection(descriptor: int) -> Iterator[socket.socket]:
    """A TCP connection of libzmq's, beside libzmq; OSError when it is none any more."""
    copy = os.dup(descriptor)
    try:
        connection = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with connection:
        yield connection


def _peer(descriptor: int) -> tuple[str, int] | None:
    """Address and port at the other end; None when the connection has gone."""
    with contextlib.suppress(OSError), _connection(descriptor) as connection:
        address, port = connection.getpeername()[:2]
        return str(address), int(port)
    return None


def _cut(descriptor: int, peer: object) -> None:
    """Ends a connection, unless it has ended and the descriptor is another one's by now."""
    with contextlib.suppress(OSError), _connection(descriptor) as connection:
        if connection.getpeername()[:2] == peer:
            connection.shutdown(socket.SHUT_RDWR)
