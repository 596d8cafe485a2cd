"""Pushing to a broker that is up, down, and up again."""

import errno
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from gpu_monitor.collector.pusher import (
    LEAST_SEND_BYTES,
    PUSH_REBUILD_SECONDS,
    UNREACHABLE_SECONDS,
    Pusher,
)
from tests.support.house import free_ports

WAIT_MS = 30_000


class ManualClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pull() -> Iterator["zmq.Socket[bytes]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context.socket(zmq.PULL)
    context.destroy(linger=0)


def free_endpoint() -> str:
    return f"tcp://127.0.0.1:{free_ports(1)[0]}"


def receive(pull: "zmq.Socket[bytes]") -> bytes | None:
    return pull.recv() if pull.poll(WAIT_MS) else None


def push_until_received(pusher: Pusher, pull: "zmq.Socket[bytes]", data: bytes) -> bytes | None:
    for _ in range(WAIT_MS // 50):
        pusher.push(data)
        if pull.poll(50):
            return pull.recv()
    return None


def test_the_first_message_arrives(pull: "zmq.Socket[bytes]") -> None:
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    pusher = Pusher(f"tcp://127.0.0.1:{port}", first_wait_ms=WAIT_MS)

    assert pusher.push(b"first") is True
    assert receive(pull) == b"first"
    pusher.close()


def test_only_the_newest_message_is_queued(pull: "zmq.Socket[bytes]") -> None:
    pull.bind("inproc://intake")
    pusher = Pusher("inproc://intake", pull.context)

    for number in range(100):
        pusher.push(b"%d" % number)

    assert receive(pull) == b"99"
    assert not pull.poll(0)
    pusher.close()


class ExhaustedContext(zmq.Context["zmq.Socket[bytes]"]):
    """Has no descriptor for a socket while `is_exhausted`."""

    is_exhausted = False

    def socket(self, *arguments: Any, **options: Any) -> Any:
        if self.is_exhausted:
            raise zmq.ZMQError(errno.EMFILE)
        return super().socket(*arguments, **options)


def test_exhausted_file_descriptors_cost_messages_and_are_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, context = ManualClock(), ExhaustedContext()
    endpoint = free_endpoint()
    pusher = Pusher(endpoint, context, clock=clock, first_wait_ms=0)
    pusher.push(b"waits")
    clock.now += PUSH_REBUILD_SECONDS
    context.is_exhausted = True

    pushed = [pusher.push(b"lost") for _ in range(3)]
    context.is_exhausted = False
    pull = context.socket(zmq.PULL)
    pull.bind(endpoint)

    assert pushed == [False] * 3
    assert [text for text in caplog.messages if "too many open files" in text] == [
        f"broker at {endpoint} not reachable: too many open files"
    ]
    assert push_until_received(pusher, pull, b"back") == b"back"
    pusher.close()
    context.destroy(linger=0)


def test_many_hosts_may_share_a_connection(pull: "zmq.Socket[bytes]") -> None:
    pull.bind("inproc://intake")
    pusher = Pusher("inproc://intake", pull.context, latest_only=False)

    for number in range(100):
        pusher.push(b"%d" % number)

    assert [receive(pull) for _ in range(100)] == [b"%d" % number for number in range(100)]
    pusher.close()


def test_a_broker_that_returns_gets_no_old_messages(pull: "zmq.Socket[bytes]") -> None:
    endpoint = free_endpoint()
    pusher = Pusher(endpoint)
    pushed = [pusher.push(b"past") for _ in range(3)]

    pull.bind(endpoint)

    assert pushed == [False] * 3
    assert push_until_received(pusher, pull, b"present") == b"present"
    pusher.close()


def test_a_missing_broker_and_its_return_are_logged_once(
    pull: "zmq.Socket[bytes]", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    endpoint, clock = free_endpoint(), ManualClock()
    pusher = Pusher(endpoint, clock=clock)
    for _ in range(10):
        pusher.push(b"")
        clock.now += UNREACHABLE_SECONDS / 2
    pull.bind(endpoint)
    for _ in range(3):
        push_until_received(pusher, pull, b"")

    assert caplog.messages == [
        f"broker at {endpoint} not reachable: retrying",
        f"broker at {endpoint} connected",
    ]
    pusher.close()


def test_an_unconnected_socket_is_replaced(pull: "zmq.Socket[bytes]") -> None:
    endpoint, clock = free_endpoint(), ManualClock()
    pusher = Pusher(endpoint, clock=clock)
    sockets = [pusher._socket]
    for _ in range(3):
        pusher.push(b"")
        clock.now += PUSH_REBUILD_SECONDS
        pusher.push(b"")
        sockets.append(pusher._socket)
    pull.bind(endpoint)

    assert len(set(map(id, sockets))) == len(sockets)
    assert all(socket.closed for socket in sockets[:-1])
    assert push_until_received(pusher, pull, b"healed") == b"healed"
    pusher.close()


def test_the_socket_has_the_options_that_drop_old_messages() -> None:
    pusher = Pusher(free_endpoint())
    wanted = {
        zmq.CONFLATE: 1,
        zmq.IMMEDIATE: 1,
        zmq.TCP_MAXRT: 3000,
        zmq.LINGER: 0,
        zmq.RECONNECT_IVL: 100,
        zmq.RECONNECT_IVL_MAX: 2000,
        zmq.SNDBUF: LEAST_SEND_BYTES,
    }

    assert {option: pusher._socket.getsockopt(option) for option in wanted} == wanted
    pusher.close()


def test_the_send_buffer_grows_with_the_snapshot_and_loses_none(
    pull: "zmq.Socket[bytes]",
) -> None:
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    pusher = Pusher(f"tcp://127.0.0.1:{port}", first_wait_ms=WAIT_MS)

    for size in (100, LEAST_SEND_BYTES, LEAST_SEND_BYTES + 1, 40_000, 30_000):
        assert pusher.push(bytes(size))
        assert receive(pull) == bytes(size)

    assert pusher._socket.getsockopt(zmq.SNDBUF) == 65_536
    pusher.close()


def test_a_line_that_is_stuck_holds_few_messages_and_then_the_newest(
    pull: "zmq.Socket[bytes]",
) -> None:
    """The receiver reads nothing and has no room; what it gets later is not the past."""
    pull.setsockopt(zmq.RCVHWM, 1)
    pull.setsockopt(zmq.RCVBUF, 4096)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    pusher = Pusher(f"tcp://127.0.0.1:{port}", first_wait_ms=WAIT_MS)

    for number in range(200):
        pusher.push(b"%d".ljust(LEAST_SEND_BYTES) % number)
        pusher._socket.poll(1, zmq.POLLIN)  # gives the I/O thread its time; nothing ever comes
    received: list[int] = []
    while received[-1:] != [199]:
        received.append(int(receive(pull) or b"-1"))

    assert len(received) < 20
    pusher.close()


def test_closing_does_not_wait_for_a_broker() -> None:
    pusher = Pusher(free_endpoint())
    pusher.push(b"never received")

    pusher.close()  # the suite's own time limit is the assertion

    assert pusher._socket.closed
