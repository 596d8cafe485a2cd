"""The broker's side of CURVE: which keys may connect; the others are counted and cut off."""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import zmq
from zmq.utils import z85

from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.curve.enrolled_keys import EnrolledKeys
from gpu_monitor.wire.curve.keys import HOSTS, WEBS
from gpu_monitor.wire.curve.monitor import Handshakes

UNKNOWN_KEY = "unknown key"
"""The reason for refusing a peer whose key is not enrolled."""
CURVE_BYTES = 1024
"""More than encryption adds to the size of a message."""

_MAX_ANSWERS_PER_TURN = 256
_MAX_FAILURES_PER_TURN = 256
_TURN_SECONDS = 0.02
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_WITHOUT_KEYS = 0x11000002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
_WRONG_BROKER = 0x11000001  # ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
_FAILURE_REASONS = {
    _WITHOUT_KEYS: ("no key", "its config.yml names no keys"),
    _WRONG_BROKER: ("wrong broker key", "its broker.pub is not this broker's own.pub"),
}
_OTHER = {HOSTS: WEBS, WEBS: HOSTS}
_ENROL_COMMANDS = {HOSTS: "gpu-monitor keys add NAME", WEBS: "gpu-monitor keys add --web NAME"}

Refuse: TypeAlias = Callable[[str, str, str, float], None]
"""Counts and logs a refusal: reason, peer, detail, and the boot clock."""


def peer_with_key(address: str, key: str) -> str:
    """A peer that has a public key: what the log calls it, too."""
    return f"{address} with key {key}"


def peer_of(frame: zmq.Frame) -> str:
    """The address that a message came from, with its key if any; empty inside the process."""
    try:
        address = str(frame.get("Peer-Address"))
    except zmq.ZMQError:  # inproc has no address
        return ""
    try:
        key = str(frame.get("User-Id"))
    except zmq.ZMQError:
        key = ""
    return peer_with_key(address, key) if key else address


def cut(frame: zmq.Frame) -> bool:
    """Ends the connection that a message arrived by; False if it had ended already."""
    try:
        address, descriptor = frame.get("Peer-Address"), int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:  # inproc has no connection
        return False
    peer = _peer(descriptor)
    return peer is not None and peer[0] == address and _cut(descriptor, peer)


class CurveServer:
    """Authenticates each connection for libzmq (ZAP, ZeroMQ RFC 27), on the event loop.

    libzmq asks only when a connection is made. Intake and publisher therefore check the key of
    every message again, and may cut the connection: a revoked key is out at once.
    """

    def __init__(
        self,
        folder: str,
        context: "zmq.Context[zmq.Socket[bytes]]",
        own_name: str,
        refuse: Refuse,
        poll_seconds: float = 1.0,
    ) -> None:
        """Raises KeysError if the broker's own key pair cannot be read."""
        self._enrolled = EnrolledKeys(folder, own_name, poll_seconds)
        self._refuse = refuse
        self._subscribers: dict[int, tuple[str, object]] = {}
        """By file descriptor: the key, and the peer's address and port, of its last request."""
        self._handshakes: list[tuple[str, Handshakes]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._zap = context.socket(zmq.REP)
        self._zap.setsockopt(zmq.LINGER, 0)
        self._zap.bind("inproc://zeromq.zap.01")

    def guard(self, guarded: "zmq.Socket[bytes]", kind: str) -> None:
        """From its next bind on, the socket admits only keys of this kind (HOSTS or WEBS)."""
        guarded.setsockopt(zmq.CURVE_SERVER, 1)
        guarded.setsockopt(zmq.CURVE_SECRETKEY, self._enrolled.own.secret.encode())
        guarded.setsockopt(zmq.ZAP_DOMAIN, kind.encode())
        guarded.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an answer, libzmq admits no peer
        self._handshakes.append((kind, Handshakes(guarded, _FAILURES)))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for descriptor, read in self._readers():
            loop.add_reader(descriptor, read)
            read()

    def close(self) -> None:
        """Call this before closing the guarded sockets; they admit no more peers."""
        for descriptor, _ in self._readers():
            if self._loop is not None:
                self._loop.remove_reader(descriptor)
        for _, handshakes in self._handshakes:
            handshakes.close()
        self._zap.close(0)

    def hosts(self) -> Iterable[str]:
        """The hosts that are expected to report."""
        return self._enrolled.names(HOSTS)

    def host(self, key: str) -> str | None:
        """The host that a public key was issued for; None if it may not report."""
        return self._enrolled.name_of(HOSTS, key)

    def poll(self, now: float) -> bool:
        """Reads the folder of keys and cuts off revoked subscribers; whether the keys changed.

        `now` is the boot clock in seconds.
        """
        if not self._enrolled.poll(now):
            return False
        for descriptor, (key, peer) in list(self._subscribers.items()):
            if self._enrolled.name_of(WEBS, key) is None:
                del self._subscribers[descriptor]
                _cut(descriptor, peer)
        return True

    def may_subscribe(self, frame: zmq.Frame) -> bool:
        """Whether to answer a subscription; if not, cuts off its sender."""
        try:
            key = str(frame.get("User-Id"))
        except zmq.ZMQError:  # from this process, or from a peer that is gone
            return True
        descriptor = int(frame.get(zmq.SRCFD))
        peer = _peer(descriptor)
        if self._enrolled.name_of(WEBS, key) is not None:
            self._subscribers[descriptor] = (key, peer)
            return True
        cut(frame)
        return False

    def _readers(self) -> list[tuple[int, Callable[[], None]]]:
        return [
            (self._zap.fileno(), self._answer),
            *((handshakes.fileno(), self._count_failures) for _, handshakes in self._handshakes),
        ]

    def _answer(self) -> None:
        """Answers libzmq's requests for one turn of the event loop, the rest in the next."""
        if self._zap.closed:
            return
        until = time.monotonic() + _TURN_SECONDS
        for _ in range(_MAX_ANSWERS_PER_TURN):
            try:
                version, request, domain, address, _, mechanism, *credentials = (
                    self._zap.recv_multipart(zmq.NOBLOCK)
                )
            except zmq.Again:
                return
            known = mechanism == b"CURVE" and len(credentials) == 1
            key = z85.encode(credentials[0]).decode() if known else ""
            admitted = self._admits(domain.decode(), address.decode(), key)
            status = (b"200", b"OK") if admitted else (b"400", b"unknown key")
            self._zap.send_multipart([version, request, *status, key.encode(), b""])
            if time.monotonic() > until:
                break
        if self._loop is not None:
            self._loop.call_soon(self._answer)

    def _admits(self, kind: str, address: str, key: str) -> bool:
        enrolled = self._enrolled
        if kind in _OTHER and key and enrolled.name_of(kind, key) is not None:
            return True
        other = enrolled.name_of(_OTHER.get(kind, HOSTS), key)
        why = f"it is enrolled in {_OTHER[kind]} as {other} only" if other else "it is not enrolled"
        detail = f"{why}; to let it in: {_ENROL_COMMANDS[kind]} --public='{key}'"
        self._refuse(UNKNOWN_KEY, peer_with_key(address, key), detail, boottime())
        return False

    def _count_failures(self) -> None:
        """Counts failed handshakes for one turn of the event loop, the rest in the next."""
        if self._zap.closed:
            return
        left = _MAX_FAILURES_PER_TURN
        for kind, handshakes in self._handshakes:
            for _, code in itertools.islice(handshakes.drain(), left):
                left -= 1
                if code in _FAILURE_REASONS:
                    reason, detail = _FAILURE_REASONS[code]
                    self._refuse(reason, f"a peer at the port for {kind}", detail, boottime())
        if not left and self._loop is not None:
            self._loop.call_soon(self._count_failures)


@contextlib.contextmanager
def _connection(descriptor: int) -> Iterator[socket.socket]:
    """A TCP connection of libzmq's, shared with it; OSError if it is no longer one."""
    copy = os.dup(descriptor)
    try:
        connection = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with connection:
        yield connection


def _peer(descriptor: int) -> tuple[str, int] | None:
    """Address and port of the other end; None if the connection is gone."""
    with contextlib.suppress(OSError), _connection(descriptor) as connection:
        address, port = connection.getpeername()[:2]
        return str(address), int(port)
    return None


def _cut(descriptor: int, peer: object) -> bool:
    """Ends a connection, unless the descriptor belongs to another one by now."""
    with contextlib.suppress(OSError), _connection(descriptor) as connection:
        if connection.getpeername()[:2] == peer:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False
