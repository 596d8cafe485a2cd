"""broker.publisher: patches to all subscribers, the picture on request."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import zmq
import zmq.asyncio

from gpu_monitor.broker.publisher import TOO_MANY_REQUESTS, Publisher
from gpu_monitor.broker.request_budget import BURST_REQUESTS, PICTURE_COST
from gpu_monitor.wire.codec import unpack

PATIENCE_SECONDS = 30.0
PICTURE = b"picture/" + b"0" * 32


@pytest.fixture
def context() -> Iterator[zmq.asyncio.Context]:
    context = zmq.asyncio.Context()
    yield context
    context.destroy(linger=0)


class Desk:
    """A publisher of one document, and how often the document was requested."""

    def __init__(self, context: zmq.asyncio.Context) -> None:
        self.packed = 0
        plain: Any = zmq.Context(context)
        anywhere = ["tcp://127.0.0.1:*"]
        recent = {"": {}, "node1": {"until": 60}}.get
        self.refused: list[tuple[str, str]] = []
        self.publisher = Publisher(anywhere, plain, "run", self.document, recent, self.refuse)
        self.endpoint = self.publisher.endpoint()
        self.publisher.start(asyncio.get_running_loop())
        self.context = context
        self.sockets: list[zmq.asyncio.Socket] = []

    def refuse(self, reason: str, peer: str, detail: str, now: float) -> None:
        self.refused.append((reason, peer))

    def document(self) -> dict[str, Any]:
        self.packed += 1
        return {"now": self.packed}

    def subscriber(self, *topics: bytes, queued: int = 1000) -> zmq.asyncio.Socket:
        sub = self.context.socket(zmq.DEALER)
        self.sockets.append(sub)
        sub.setsockopt(zmq.RCVHWM, queued)
        sub.setsockopt(zmq.RCVBUF, 1 << 16)  # on some machines the kernel would buffer everything
        sub.connect(self.endpoint)
        for topic in topics:
            sub.send(topic)
        return sub

    def close(self) -> None:
        self.publisher.close()
        for sub in self.sockets:
            sub.close(linger=0)


@pytest.fixture
async def desk(context: zmq.asyncio.Context) -> AsyncIterator[Desk]:
    desk = Desk(context)
    yield desk
    desk.close()


async def receive(sub: zmq.asyncio.Socket) -> tuple[bytes, dict[str, Any]]:
    topic, data = await asyncio.wait_for(sub.recv_multipart(), PATIENCE_SECONDS)
    message: Any = unpack(data)
    return topic, message


async def test_the_picture_is_sent_on_request(desk: Desk) -> None:
    topic, message = await receive(desk.subscriber(PICTURE))
    assert topic == PICTURE
    assert message == {"run_id": "run", "sequence": 0, "fleet": {"now": 1}}


async def test_a_repeated_request_is_answered_again(desk: Desk) -> None:
    sub = desk.subscriber(PICTURE)
    await receive(sub)
    sub.send(PICTURE)
    assert (await receive(sub))[0] == PICTURE


async def test_a_picture_is_packed_once_until_the_next_patch(desk: Desk) -> None:
    topics = [b"picture/%032x" % number for number in range(5)]
    for topic in topics:
        await receive(desk.subscriber(topic))
    assert desk.packed == 1
    desk.publisher.publish({"now": 2})
    _, message = await receive(desk.subscriber(b"picture/" + b"f" * 32))
    assert desk.packed == 2 and message["sequence"] == 1


async def test_patches_follow_the_picture_without_a_gap(desk: Desk) -> None:
    sub = desk.subscriber(b"patch", PICTURE)
    await receive(sub)
    desk.publisher.publish({"now": 1})
    desk.publisher.publish({"now": 2})
    assert await receive(sub) == (b"patch", {"run_id": "run", "sequence": 1, "patch": {"now": 1}})
    assert (await receive(sub))[1]["sequence"] == 2


@pytest.mark.parametrize("topic", [b"picture/", b"picture/xyz", b"pictures", b"\xff", b""])
async def test_another_topic_is_not_a_request(desk: Desk, topic: bytes) -> None:
    sub = desk.subscriber(topic, PICTURE)
    assert (await receive(sub))[0] == PICTURE
    assert desk.packed == 1


@pytest.mark.parametrize(("name", "answer"), [("", {}), ("node1", {"until": 60}), ("nobody", None)])
async def test_the_last_hour_is_sent_on_request(
    desk: Desk, name: str, answer: dict[str, int] | None
) -> None:
    topic = b"recent/" + b"a" * 32 + b"/" + name.encode()
    assert await receive(desk.subscriber(topic)) == (topic, {"run_id": "run", "recent": answer})


async def test_a_subscriber_that_does_not_read_costs_bounded_memory_and_sees_a_gap(
    desk: Desk,
) -> None:
    quick = desk.subscriber(b"patch", PICTURE)
    slow = desk.subscriber(b"patch", b"picture/" + b"1" * 32, queued=1)
    await receive(quick)
    await receive(slow)
    for number in range(400):
        desk.publisher.publish({"filler": "x" * 100_000})
        assert (await receive(quick))[1]["sequence"] == number + 1
    expected = 1
    while (sequence := (await receive(slow))[1]["sequence"]) == expected:
        expected += 1
        desk.publisher.publish({})
    assert expected < sequence


async def published_until(desk: Desk, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline
        desk.publisher.publish({})
        await asyncio.sleep(0.01)


async def test_what_is_known_of_a_subscriber_that_is_gone_is_forgotten(desk: Desk) -> None:
    publisher, sub = desk.publisher, desk.subscriber(b"patch", PICTURE)
    await receive(sub)
    assert len(publisher._subscribers) == len(publisher._budgets) == 1
    sub.close(linger=0)
    await published_until(desk, lambda: not publisher._subscribers and not publisher._budgets)


async def test_who_requests_too_much_is_cut_off_and_others_are_not(desk: Desk) -> None:
    flooder, other = desk.subscriber(b"patch"), desk.subscriber(b"patch", PICTURE)
    await receive(other)
    for _ in range(int(BURST_REQUESTS / PICTURE_COST) + 2):
        flooder.send(PICTURE)
    await published_until(desk, lambda: bool(desk.refused))
    assert desk.refused == [(TOO_MANY_REQUESTS, "127.0.0.1")]
    assert len(desk.publisher._subscribers) == 1
    desk.publisher.publish({"last": True})
    while (await receive(other))[1].get("patch") != {"last": True}:
        pass


async def test_each_part_of_a_message_counts_as_a_request(desk: Desk) -> None:
    desk.subscriber().send_multipart([b"junk"] * (2 * int(BURST_REQUESTS)))
    await published_until(desk, lambda: bool(desk.refused))
    assert desk.refused == [(TOO_MANY_REQUESTS, "127.0.0.1")]
    sub = desk.subscriber(PICTURE)
    assert (await receive(sub))[0] == PICTURE
