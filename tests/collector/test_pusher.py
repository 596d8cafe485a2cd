"""Pushing to a broker that is up, down, and up again."""

import errno
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from gpu_monitor.collector.pusher import PUSH_REBUILD_SECONDS, UNREACHABLE_SECONDS, Pusher
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
    }

    assert {option: pusher._socket.getsockopt(option) for option in wanted} == wanted
    pusher.close()


def test_closing_does_not_wait_for_a_broker() -> None:
    pusher = Pusher(free_endpoint())
    pusher.push(b"never received")

    pusher.close()  # the suite's own time limit is the assertion

    assert pusher._socket.closed
