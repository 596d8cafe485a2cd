"""PULL: what is heard, what is refused, and what both cost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import zmq
import zmq.asyncio
from snapshots import make_snapshot

from broker.fleet import Fleet
from broker.hearing import Hearing
from broker.identity import Directory
from broker.intake import Intake
from wire.codec import pack

PATIENCE_SECONDS = 30.0


class Desk:
    """An intake on a free port, and collectors' sockets to it."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self.context = zmq.asyncio.Context()
        plain: Any = zmq.Context(self.context)
        self.fleet = Fleet(hosts, 2.0, 1000.0)
        self.asked = 0
        self.hearing = Hearing(self.fleet, Directory(hosts), self.ask)
        self.intake = Intake(["tcp://127.0.0.1:*"], plain, self.hearing)
        self.endpoint = self.intake.endpoint()
        self.intake.start(asyncio.get_running_loop())
        self.pusher = self.context.socket(zmq.PUSH)
        self.pusher.connect(self.endpoint)

    def ask(self) -> None:
        self.asked += 1

    async def push(self, *messages: bytes) -> dict[str, int]:
        """Pushes all and waits until the last is heard; the refusals by reason."""
        refused = self.hearing.refusals.counts
        before = refused.get("parts", 0)
        for message in messages:
            await self.pusher.send(message)
        await self.pusher.send_multipart([b"the", b"end"])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while refused.get("parts", 0) == before or self.intake._waiting:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        return {reason: count for reason, count in refused.items() if reason != "parts"}

    def close(self) -> None:
        self.intake.close()
        self.context.destroy(linger=0)


@pytest.fixture
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    desk = Desk(getattr(request, "param", ()))
    yield desk
    desk.close()


async def test_a_snapshot_is_heard(desk: Desk) -> None:
    assert await desk.push(pack(make_snapshot("node1"))) == {}
    assert desk.fleet.records.keys() == {"node1"}


async def test_each_refusal_counts_under_its_reason(desk: Desk) -> None:
    refused = await desk.push(
        b"",
        pack([1, 2]),
        pack(make_snapshot("no name of a host")),
        pack(make_snapshot("node1", version=2)),
        pack(make_snapshot("node2", sequence=-1)),
        pack(make_snapshot("node3", gpus={"index": [0], "state": []})),
    )
    assert refused == {"msgpack": 1, "name": 2, "version": 1, "value": 1, "length": 1}
    assert desk.fleet.records == {}


@pytest.mark.parametrize("desk", [("192.0.2.1",)], indirect=True)
async def test_an_unknown_peer_is_refused_before_its_message_is_looked_at(desk: Desk) -> None:
    assert await desk.push(b"\xc1" * 1000) == {"unknown host": 1}
    assert desk.asked == 1


async def test_a_backlog_does_not_hold_up_the_event_loop(desk: Desk) -> None:
    """A turn is bounded: between two turns others run, here this test itself."""
    messages = [pack(make_snapshot(f"node{number}")) for number in range(500)]
    turns, counting = 0, True

    async def count_turns() -> None:
        nonlocal turns
        while counting:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count_turns())
    await desk.push(*messages)
    counting = False
    await other
    assert turns > len(messages) / 64


async def test_of_a_host_that_waits_the_newest_message_is_heard(desk: Desk) -> None:
    await desk.push(*(pack(make_snapshot("node1", number)) for number in range(1, 11)))
    await desk.push(pack(make_snapshot("node1", 10)))
    assert desk.hearing.refusals.counts["duplicate"] == 1


async def test_many_hosts_may_share_one_connection(desk: Desk) -> None:
    await desk.push(*(pack(make_snapshot(f"node{number}")) for number in range(1500)))
    assert len(desk.fleet.records) == 1500


async def test_mutated_messages_end_nothing(desk: Desk) -> None:
    chance = random.Random(4)
    messages = []
    for number in range(2000):
        message = bytearray(pack(make_snapshot(f"node{number}")))
        for _ in range(chance.randrange(1, 6)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        messages.append(bytes(message[: chance.randrange(1, len(message) + 1)]))
    refused = await desk.push(*messages)
    assert sum(refused.values()) > 1000
    await desk.push(pack(make_snapshot("good")))
    assert "good" in desk.fleet.records
