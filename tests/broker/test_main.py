"""The whole broker over real sockets: snapshots in, patches and pictures out."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import zmq
import zmq.asyncio

from gpu_monitor.broker.main import run
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.codec import pack, unpack
from gpu_monitor.wire.patch import merge
from tests.support.house import free_ports
from tests.support.snapshots import make_gpus, make_snapshot

PATIENCE_SECONDS = 30.0


def free_endpoint() -> str:
    return f"tcp://127.0.0.1:{free_ports(1)[0]}"


class Viewer:
    """A subscriber as the web server is one: the picture first, then patches without a gap."""

    def __init__(self, context: zmq.asyncio.Context, endpoint: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)
        self.socket.send(b"patch")
        self.topic = f"picture/{uuid.uuid4().hex}".encode()
        self.socket.send(self.topic)
        self.document: dict[str, Any] = {}
        self.sequence = -1
        self.patches: list[dict[str, Any]] = []

    async def read(self) -> None:
        topic, data = await self.socket.recv_multipart()
        message: Any = unpack(data)
        if topic == self.topic:
            self.document, self.sequence = message["fleet"], message["sequence"]
        elif self.sequence >= 0 and message["sequence"] > self.sequence:
            assert message["sequence"] == self.sequence + 1
            self.document = merge(self.document, message["patch"])
            self.sequence += 1
            self.patches.append(message["patch"])

    async def until(self, seen: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        async def read_on() -> None:
            while not (self.document and seen(self.document)):
                await self.read()

        await asyncio.wait_for(read_on(), PATIENCE_SECONDS)
        return self.document

    async def until_state(self, name: str, state: str) -> dict[str, Any]:
        document = await self.until(lambda seen: seen["hosts"].get(name, {}).get("state") == state)
        host: dict[str, Any] = document["hosts"][name]
        return host


class House:
    """A broker on free ports, and collectors that push what the test wants."""

    def __init__(self, context: zmq.asyncio.Context, settings: BrokerSettings) -> None:
        self.context = context
        self.settings = settings
        self.tasks: list[asyncio.Task[None]] = []

    def viewer(self) -> Viewer:
        return Viewer(self.context, self.settings.updates_endpoints[-1])

    def push_socket(self) -> zmq.asyncio.Socket:
        pusher = self.context.socket(zmq.PUSH)
        pusher.linger = 0
        pusher.connect(self.settings.rpc_endpoints[-1])
        return pusher

    def collector(self, name: str = "node1", **members: Any) -> asyncio.Task[None]:
        """Pushes a snapshot every 0.1 s until it is cancelled."""

        async def push() -> None:
            members.setdefault("run_id", uuid.uuid4().hex)
            pusher, sequence = self.push_socket(), 0
            while True:
                sequence += 1
                clocks = {"sampled_boottime": boottime(), "sampled_at": time.time()}
                await pusher.send(pack(make_snapshot(name, sequence, **clocks, **members)))
                await asyncio.sleep(0.1)

        task = asyncio.create_task(push())
        self.tasks.append(task)
        return task


@asynccontextmanager
async def broker(**keys: Any) -> AsyncIterator[House]:
    settings = BrokerSettings(
        rpc_endpoints=(free_endpoint(),), updates_endpoints=(free_endpoint(),), tick=0.05
    )
    context = zmq.asyncio.Context()
    house = House(context, replace(settings, **keys))
    ready = asyncio.Event()
    shared: Any = zmq.Context(context)  # the same context, without asyncio
    house.tasks.append(asyncio.create_task(run(house.settings, ready.set, shared)))
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_SECONDS)
        yield house
    finally:
        for task in house.tasks:
            task.cancel()
        await asyncio.gather(*house.tasks, return_exceptions=True)
        context.destroy(linger=0)


async def test_a_snapshot_reaches_a_subscriber() -> None:
    async with broker() as house:
        house.collector(gpus=make_gpus(2, idle_since=[None, 1]))
        host = await house.viewer().until_state("node1", "live")
        assert host["gpus"]["idle_since"] == [None, 1]
        assert host["gpus"]["use"] == ["busy", "free"]


async def test_a_new_subscriber_receives_the_picture_and_then_patches() -> None:
    async with broker() as house:
        house.collector("node1")
        early = house.viewer()
        await early.until_state("node1", "live")
        late = house.viewer()
        await late.until_state("node1", "live")
        house.collector("node2")
        await late.until_state("node2", "live")
        await early.until(lambda seen: early.sequence >= late.sequence)
        assert early.document["hosts"].keys() == late.document["hosts"].keys()


async def test_several_endpoints_are_received_from_at_once() -> None:
    rpc = ("inproc://rpc", free_endpoint())
    async with broker(rpc_endpoints=rpc) as house:
        house.collector("outside")
        house.settings = replace(house.settings, rpc_endpoints=rpc[:1])
        house.collector("inside")
        viewer = house.viewer()
        await viewer.until_state("outside", "live")
        await viewer.until_state("inside", "live")


async def test_a_host_is_stale_once_its_collector_is_silent() -> None:
    async with broker(rpc_timeout=0.6) as house:
        collector = house.collector()
        viewer = house.viewer()
        await viewer.until_state("node1", "live")
        collector.cancel()
        host = await viewer.until_state("node1", "stale")
        assert host["gpus"]["use"] == [None, None]
        assert viewer.document["totals"]["gpus"] == 0


async def test_a_configured_host_that_never_reported_is_missing() -> None:
    async with broker(hosts=("127.0.0.1", "absent.invalid")) as house:
        house.collector("whatever it says")
        house.collector("mynode")
        viewer = house.viewer()
        await viewer.until_state("absent.invalid", "missing")
        await viewer.until_state("127.0.0.1", "live")
        assert "mynode" not in viewer.document["hosts"]


async def test_a_peer_that_is_not_listed_is_refused_and_counted() -> None:
    async with broker(hosts=("192.0.2.1",)) as house:
        house.collector()
        viewer = house.viewer()
        await viewer.until(lambda seen: seen["broker"]["refused"].get("unknown host", 0) >= 3)
        assert viewer.document["hosts"] == {"192.0.2.1": {"state": "missing"}}


async def test_a_collector_in_the_same_process_is_always_accepted() -> None:
    rpc = ("inproc://welcome",)
    async with broker(rpc_endpoints=rpc, hosts=("192.0.2.1",), own_name="me") as house:
        house.collector("mynode")
        await house.viewer().until_state("me", "live")


async def test_a_heartbeat_is_published_when_nothing_changes() -> None:
    async with broker(tick=5.0) as house:
        viewer = house.viewer()
        await viewer.until(lambda seen: len(viewer.patches) >= 3)
        after_the_start = viewer.patches[1:]  # the first one contains the load
        assert all(patch.keys() == {"now"} for patch in after_the_start)


async def test_hostile_messages_are_counted_while_a_good_host_stays_live() -> None:
    async with broker(rpc_timeout=PATIENCE_SECONDS) as house:
        house.collector()
        viewer = house.viewer()
        await viewer.until_state("node1", "live")
        pusher = house.push_socket()
        for message in (b"", b"\xc1", b"\x81\xa1a" * 600, b"\xdd\xff\xff\xff\xff", pack([1])):
            for _ in range(40):
                await pusher.send(message)
        await pusher.send(pack(make_snapshot("evil", version=2)))
        await pusher.send_multipart([b"one", b"two", b"three"])
        counts = await viewer.until(
            lambda seen: seen["broker"]["refused"].keys() >= {"parts", "version"}
        )
        assert counts["broker"]["refused"]["msgpack"] >= 100
        assert counts["broker"]["refused"]["version"] == 1
        assert all(
            patch.get("hosts", {}).get("node1", {}).get("state", "live") == "live"
            for patch in viewer.patches
        )
        house.collector("node2")  # and a new collector is received
        await viewer.until_state("node2", "live")


async def test_a_message_over_the_limit_disconnects_only_its_sender() -> None:
    async with broker() as house:
        pusher = house.push_socket()
        await pusher.send(b"x" * (2 << 20))
        house.collector()
        await house.viewer().until_state("node1", "live")


async def test_two_collectors_under_one_name_are_a_conflict_that_shows_the_first() -> None:
    # With a shorter timeout, a pause could count as the first collector's silence.
    async with broker(rpc_timeout=5.0) as house:
        viewer = house.viewer()
        first = house.collector(boot_id="first", gpus=make_gpus(1))
        await viewer.until_state("node1", "live")
        house.collector(boot_id="second", gpus=make_gpus(2))
        host = await viewer.until_state("node1", "conflict")
        assert len(host["gpus"]["index"]) == 1
        assert "two collectors" in host["findings"]["words"][0]
        first.cancel()
        host = await viewer.until_state("node1", "live")
        assert len(host["gpus"]["index"]) == 2 and host["findings"]["kind"] == []


async def test_a_restarted_collector_is_live_again_under_its_new_run() -> None:
    async with broker() as house:
        viewer = house.viewer()
        first = house.collector(gpus=make_gpus(1))
        await viewer.until_state("node1", "live")
        first.cancel()
        house.collector(gpus=make_gpus(2))
        await viewer.until(lambda seen: len(seen["hosts"]["node1"]["gpus"]["index"]) == 2)
        states = [patch.get("hosts", {}).get("node1", {}).get("state") for patch in viewer.patches]
        assert "conflict" not in states


async def test_the_broker_publishes_its_load_but_not_with_every_tick() -> None:
    async with broker() as house:
        viewer = house.viewer()
        await viewer.until(lambda seen: seen["broker"]["load"].get("tick_late_seconds", -1) >= 0)
        house.collector()
        await viewer.until_state("node1", "live")
        told = [patch for patch in viewer.patches if "load" in patch.get("broker", {})]
        assert len(told) <= 1


async def test_warnings_are_in_the_document() -> None:
    async with broker(warnings=("no keys",)) as house:
        document = await house.viewer().until(lambda seen: True)
        assert document["broker"]["warnings"] == ["no keys"]


async def test_a_port_in_use_is_an_error_and_leaves_nothing_bound() -> None:
    endpoint = free_endpoint()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with socket.create_server(("127.0.0.1", int(endpoint.rpartition(":")[2]))):
        settings = BrokerSettings(rpc_endpoints=(free_endpoint(),), updates_endpoints=(endpoint,))
        with pytest.raises(zmq.ZMQError):
            await run(settings, None, context)
    context.term()
