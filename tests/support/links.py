"""A broker with keys on free ports, and the peers on its two links."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import zmq

from gpu_monitor.broker.main import run
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.wire.broker_link import Subscriber
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.replica import Replica
from tests.support.house import free_ports
from tests.support.key_folders import KeyFolders
from tests.support.snapshots import make_snapshot

PATIENCE_SECONDS = 30.0
RPC_TIMEOUT = 3.0
"""Long enough that a pause of the machine makes no host stale."""

Made = TypeVar("Made")


class Clock:
    """A running clock that can be advanced, so that tests need not wait for retries."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return boottime() + self.ahead


class StillClock(Clock):
    """A clock that moves only when it is advanced."""

    def __call__(self) -> float:
        return self.ahead


class Collector:
    """Pushes a snapshot every 0.05 s, under its own name."""

    def __init__(self, endpoint: str, folder: str, name: str) -> None:
        self.clock = StillClock()
        self.name = name
        self.pusher = Pusher(
            endpoint, clock=self.clock, lock=Lock(folder, f"gpu-monitor keys add {name}")
        )
        self._run_id = uuid.uuid4().hex
        self._sequence = 0
        self.pushed = 0
        self.instead = b""
        """The message to push instead of snapshots."""

    def push(self) -> None:
        if self.instead:
            self.pusher.push(self.instead)
            return
        self._sequence += 1
        clocks = {"sampled_boottime": boottime(), "sampled_at": time.time()}
        members = {"run_id": self._run_id, "boot_id": self.name, **clocks}
        self.pushed += self.pusher.push(pack(make_snapshot(self.name, self._sequence, **members)))


class Web:
    """The web server's end of the updates link; `lost` counts how often it lost the broker."""

    def __init__(self, endpoint: str, folder: str, context: Any) -> None:
        self.clock = Clock()
        self.replica = Replica({}, RPC_TIMEOUT, self.clock())
        self.lost = 0
        self.patches: list[dict[str, Any]] = []
        lock = Lock(folder, "gpu-monitor keys add --web NAME")
        self.subscriber = Subscriber(
            endpoint, context, self.replica, self._publish, self.clock, lock
        )

    def _publish(self, patch: dict[str, Any]) -> None:
        self.patches.append(patch)
        self.lost += patch.get("broker", {}).get("state") == "lost"

    @property
    def document(self) -> dict[str, Any]:
        return self.replica.document

    def state(self, name: str) -> str | None:
        state: str | None = self.document["hosts"].get(name, {}).get("state")
        return state

    def states(self, name: str) -> set[str]:
        """Every state of a host since it first appeared."""
        hosts = (patch.get("hosts", {}).get(name, {}) for patch in self.patches)
        return {host["state"] for host in hosts if "state" in host} - {"missing"}

    def refused(self, reason: str) -> int:
        refused: dict[str, int] = self.document["broker"].get("refused", {})
        return refused.get(reason, 0)


class Links:
    """Collectors and web servers that run on the event loop until a test has seen enough."""

    def __init__(self, folders: KeyFolders, settings: BrokerSettings) -> None:
        self.folders = folders
        self.rpc, self.updates = settings.rpc_endpoints[0], settings.updates_endpoints[0]
        self._context: zmq.Context[Any] = zmq.Context()
        self._collectors: list[Collector] = []
        self._webs: list[Web] = []

    def collector(self, folder: str, name: str = "", endpoint: str = "") -> Collector:
        collector = Collector(endpoint or self.rpc, folder, name or os.path.basename(folder))
        self._collectors.append(collector)
        return collector

    def host(self, name: str, sent: str = "") -> Collector:
        """A collector whose key is enrolled."""
        return self.collector(self.folders.host(name), sent or name)

    def web(self, folder: str | None = None) -> Web:
        """A web server, by default one whose key is enrolled."""
        if folder is None:
            folder = self.folders.web(f"page{len(self._webs)}")
        web = Web(self.updates, folder, self._context)
        self._webs.append(web)
        return web

    async def until(self, holds: Callable[[], object]) -> None:
        """Run everything until the condition holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, self._webs[0].document if self._webs else ""
            await self.turn()

    async def meanwhile(self, work: Callable[..., Made], *arguments: Any) -> Made:
        """Run a blocking function in a thread, while everything else goes on."""
        task = asyncio.create_task(asyncio.to_thread(work, *arguments))
        await self.until(task.done)
        return task.result()

    async def turn(self) -> None:
        for collector in self._collectors:
            collector.push()
        for web in self._webs:
            web.subscriber.poll()
        await asyncio.sleep(0.05)

    def close(self) -> None:
        for collector in self._collectors:
            collector.pusher.close()
        for web in self._webs:
            web.subscriber.close()
        self._context.destroy(linger=0)


@asynccontextmanager
async def links(place: Path, **keys: Any) -> AsyncIterator[Links]:
    """A running broker that has enrolled node1, other, page0 and page1; `keys` replace settings."""
    folders = KeyFolders(place)
    for name in ("node1", "other"):
        folders.host(name)
    for name in ("page0", "page1"):
        folders.web(name)
    rpc, updates = free_ports(2)
    settings = replace(
        BrokerSettings(
            rpc_endpoints=(f"tcp://127.0.0.1:{rpc}",),
            updates_endpoints=(f"tcp://127.0.0.1:{updates}",),
            rpc_timeout=RPC_TIMEOUT,
            tick=0.05,
            keys=folders.broker,
            keys_poll_seconds=0.0,
        ),
        **keys,
    )
    ready = asyncio.Event()
    broker = asyncio.create_task(run(settings, ready.set))
    made = Links(folders, settings)
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE_SECONDS)
        yield made
    finally:
        made.close()
        broker.cancel()
        await asyncio.gather(broker, return_exceptions=True)
