"""broker.intake: what is ingested, what is refused, and what both cost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import zmq
import zmq.asyncio

from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.ingest import Ingest
from gpu_monitor.broker.intake import _MAX_WAITING_BYTES, Intake
from gpu_monitor.broker.load_stats import Load
from gpu_monitor.broker.peer_identity import Directory
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES
from tests.support.snapshots import make_snapshot

PATIENCE_SECONDS = 30.0


class Desk:
    """An intake on a free port, and collectors' sockets to it."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self.context = zmq.asyncio.Context()
        plain: Any = zmq.Context(self.context)
        self.fleet = Fleet(hosts, 2.0, 1000.0)
        self.resolutions = 0
        self.ingest = Ingest(self.fleet, Directory(hosts), self.count_resolution)
        self.load = Load()
        self.intake = Intake(["tcp://127.0.0.1:*"], plain, self.ingest, self.load)
        self.endpoint = self.intake.endpoint()
        self.pusher = self.context.socket(zmq.PUSH)
        self.pusher.connect(self.endpoint)

    def start(self) -> None:
        self.intake.start(asyncio.get_running_loop())

    def count_resolution(self) -> None:
        self.resolutions += 1

    async def push(self, *messages: bytes) -> dict[str, int]:
        """Push messages, wait until the last has been read, and return the refusals by reason."""
        refused = self.ingest.refusals.counts
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
async def closed_desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """Messages wait until it is started."""
    desk = Desk(getattr(request, "param", ()))
    yield desk
    desk.close()


@pytest.fixture
async def desk(closed_desk: Desk) -> Desk:
    closed_desk.start()
    return closed_desk


async def test_a_snapshot_is_ingested(desk: Desk) -> None:
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
    assert refused == {"msgpack": 1, "type": 1, "name": 1, "version": 1, "value": 1, "length": 1}
    assert desk.fleet.records == {}


@pytest.mark.parametrize("closed_desk", [("192.0.2.1",)], indirect=True)
async def test_an_unknown_peer_is_refused_before_its_message_is_read(desk: Desk) -> None:
    assert await desk.push(b"\xc1" * 1000) == {"unknown host": 1}
    assert desk.resolutions == 1


async def test_a_backlog_does_not_hold_up_the_event_loop(desk: Desk) -> None:
    """A turn is bounded: other tasks, such as this test, run between two turns."""
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


async def test_slow_messages_are_ingested_one_per_turn(desk: Desk) -> None:
    hard: list[Any] = [[[[]] * 500] * 500] * 3
    messages = [pack(make_snapshot(f"node{number}", hard=hard)) for number in range(5)]
    turn, ingested_in = 0, []
    ingest = desk.ingest.ingest

    def note(data: bytes, peer: str, received: float) -> None:
        ingested_in.append(turn)
        ingest(data, peer, received)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    desk.ingest.ingest = note  # type: ignore[method-assign] # tells when, and hears
    other = asyncio.create_task(count_turns())
    refused = await desk.push(*messages)
    other.cancel()
    assert len(ingested_in) == len(set(ingested_in)) == len(messages)
    assert refused == {"limit": len(messages)}


@pytest.mark.parametrize("closed_desk", [("127.0.0.1",)], indirect=True)
async def test_a_flood_under_many_names_has_one_place_in_the_queue(closed_desk: Desk) -> None:
    flood = [pack(make_snapshot(f"node{number}")) for number in range(50)]
    sending = asyncio.ensure_future(closed_desk.push(*flood))
    received = 0
    while received < len(flood):
        received += closed_desk.intake._receive()
        await asyncio.sleep(0.001)
    assert len(closed_desk.intake._waiting) == 1
    closed_desk.start()
    assert await sending == {}


async def test_waiting_messages_take_no_more_memory_than_a_large_fleet_needs(
    closed_desk: Desk,
) -> None:
    intake, filler = closed_desk.intake, "x" * (MAX_MESSAGE_BYTES - 10_000)
    flood = (pack(make_snapshot(f"node{number}", filler=filler)) for number in range(150))
    sending = asyncio.ensure_future(closed_desk.push(*flood))
    while intake._waiting_bytes < _MAX_WAITING_BYTES:
        intake._receive()
        await asyncio.sleep(0.001)
    assert intake._receive() == 0
    assert intake._waiting_bytes < _MAX_WAITING_BYTES + MAX_MESSAGE_BYTES
    closed_desk.start()
    assert await sending == {"limit": 150}
    assert intake._waiting_bytes == 0


async def test_only_the_newest_waiting_message_of_a_host_is_ingested(desk: Desk) -> None:
    await desk.push(*(pack(make_snapshot("node1", number)) for number in range(1, 11)))
    await desk.push(pack(make_snapshot("node1", 10)))
    assert desk.ingest.refusals.counts["duplicate"] == 1


async def test_received_and_overtaken_messages_are_counted(desk: Desk) -> None:
    refused = await desk.push(*[pack(make_snapshot("node1"))] * 200, b"")
    assert desk.load.messages == 200 + 2  # one without a name, and the desk's own last one
    assert desk.load.overtaken == 200 - 1 - refused.get("duplicate", 0)
    assert desk.load.waiting >= 1


async def test_many_hosts_may_share_one_connection(desk: Desk) -> None:
    await desk.push(*(pack(make_snapshot(f"node{number}")) for number in range(1500)))
    assert len(desk.fleet.records) == 1500


async def test_mutated_messages_do_not_stop_the_broker(desk: Desk) -> None:
    chance = random.Random(4)
    messages = []
    for number in range(10_000):
        message = bytearray(pack(make_snapshot(f"node{number}")))
        for _ in range(chance.randrange(1, 6)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        messages.append(bytes(message[: chance.randrange(1, len(message) + 1)]))
    refused = await desk.push(*messages)
    assert sum(refused.values()) > 5000
    await desk.push(pack(make_snapshot("good")))
    assert "good" in desk.fleet.records
