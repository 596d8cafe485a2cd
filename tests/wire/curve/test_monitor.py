"""wire.curve.monitor: handshakes are reported, and an abandoned one can be repeated."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
import zmq

from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.wire.broker_link import Subscriber
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.curve.keys import client_keys, own_pair
from gpu_monitor.wire.curve.monitor import Handshakes
from gpu_monitor.wire.replica import Replica
from tests.support.house import eventually
from tests.support.key_folders import KeyFolders

WAIT_MS = 30_000
RESULTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
TIMES = 200
"""In the wrong order, about one in ten hangs."""


Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"


class Broker:
    """A socket with keys that accepts connections."""

    def __init__(self, context: Context, kind: int, folder: str) -> None:
        self.socket = context.socket(kind)
        self.socket.setsockopt(zmq.CURVE_SERVER, 1)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, own_pair(folder).secret.encode())
        self._accepted = self.socket.get_monitor_socket(zmq.EVENT_ACCEPTED)
        self.endpoint = f"tcp://127.0.0.1:{self.socket.bind_to_random_port('tcp://127.0.0.1')}"

    def has_accepted(self) -> bool:
        """Whether a peer has connected since the last call, or connects now."""
        found = bool(self._accepted.poll(WAIT_MS))
        while self._accepted.poll(0):
            self._accepted.recv_multipart()
        return found

    def close(self) -> None:
        self.socket.disable_monitor()
        self._accepted.close(0)
        self.socket.close(0)


Listen: TypeAlias = Callable[[int, str], Broker]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Brokers of one kind of socket, with the keys of a folder."""
    brokers: list[Broker] = []

    def listen(kind: int, folder: str) -> Broker:
        brokers.append(Broker(context, kind, folder))
        return brokers[-1]

    with zmq.Context() as context:
        yield listen
        for broker in brokers:
            broker.close()


@pytest.fixture
def near() -> Iterator[Context]:
    """The context of the connecting side, with one I/O thread for all its sockets."""
    context: Context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def folders(tmp_path: Path) -> KeyFolders:
    return KeyFolders(tmp_path)


def later() -> Callable[[], float]:
    """A clock that jumps past every deadline each time it is read."""
    times = iter(range(0, 10_000_000, 100))
    return lambda: float(next(times))


def test_a_handshake_is_reported_once_and_the_socket_outlives_its_monitor(
    listen: Listen, near: Context, folders: KeyFolders
) -> None:
    broker = listen(zmq.PULL, folders.broker)
    socket = near.socket(zmq.PUSH)
    client_keys(folders.host("node1")).lock(socket)
    handshakes = Handshakes(socket, RESULTS)
    socket.connect(broker.endpoint)
    told = eventually(lambda: list(handshakes.drain()) or None, "the handshake")
    assert told == [(zmq.EVENT_HANDSHAKE_SUCCEEDED, 0)]
    assert list(handshakes.drain()) == []
    handshakes.close()
    socket.send(b"on")
    assert broker.socket.poll(WAIT_MS) and broker.socket.recv() == b"on"
    socket.close(0)


def test_a_collector_that_gives_up_amid_a_handshake_reaches_the_next_broker(
    listen: Listen, near: Context, folders: KeyFolders
) -> None:
    other = listen(zmq.PULL, folders.machine("other"))
    folder = folders.host("node1")
    pusher = Pusher(other.endpoint, near, clock=later(), lock=Lock(folder, ""))
    for _ in range(TIMES):
        assert other.has_accepted()
        pusher.push(b"in vain")
    pusher.close()
    right = listen(zmq.PULL, folders.broker)
    pusher = Pusher(right.endpoint, near, lock=Lock(folder, ""))
    assert pusher.is_connected(WAIT_MS)
    pusher.close()


async def test_a_web_server_that_gives_up_amid_a_handshake_reaches_the_next_broker(
    listen: Listen, near: Context, folders: KeyFolders
) -> None:
    def subscriber(endpoint: str) -> Subscriber:
        replica = Replica({}, 1.0, 0.0)
        return Subscriber(endpoint, near, replica, lambda patch: None, later(), Lock(folder, ""))

    other, folder = listen(zmq.ROUTER, folders.machine("other")), folders.web("page1")
    tried = subscriber(other.endpoint)
    for _ in range(TIMES):
        assert other.has_accepted()
        tried.poll()
    tried.close()
    right = listen(zmq.ROUTER, folders.broker)
    tried = subscriber(right.endpoint)
    assert right.socket.poll(WAIT_MS)
    tried.close()
