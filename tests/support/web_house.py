"""A web server on a free port, and the broker's end of its updates link, run by the test."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import zmq

from gpu_monitor.web.main import run
from gpu_monitor.web.settings import WebLimits, WebSettings
from gpu_monitor.wire.codec import pack, unpack
from gpu_monitor.wire.patch import merge
from tests.support.house import free_ports
from tests.support.snapshots import make_findings

PATIENCE_SECONDS = 30.0
SILENCE: dict[str, Any] = {"rpc_timeout": 0.6}
"""For tests in which the broker falls silent; in all others no pause may look like silence."""


def make_fleet(**hosts: Any) -> dict[str, Any]:
    """A small document as published by a broker."""
    return {
        "version": 1,
        "now": 1000.0,
        "interval_seconds": 1.0,
        "tick_seconds": 0.5,
        "stale_after_seconds": 2.0,
        "simulated": False,
        "broker": {"state": "live", "version": "0.1.0", "started_at": 900.0, "refused": {}},
        "totals": {"hosts": len(hosts)},
        "users": {"alice": {"gpus": 1}},
        "hosts": hosts,
    }


def make_host(free: int = 1, busy: int = 0, model: str = "NVIDIA H100", **more: Any) -> Any:
    """A live host; its first GPUs are free and have 80 GiB each."""
    rows = range(free + busy)
    gpus = {
        "index": list(rows),
        "uuid": [f"GPU-{row}" for row in rows],
        "name": [model for _ in rows],
        "use": ["free"] * free + ["busy"] * busy,
        "memory_total_mib": [81920 for _ in rows],
        "memory_used_mib": [0] * free + [70000] * busy,
    }
    findings = make_findings()
    return {"state": "live", "heard_at": 1000.0, "gpus": gpus, "findings": findings, **more}


class Broker:
    """The ROUTER end of the link; it sends the document only when the test says so."""

    def __init__(self, endpoint: str = "", run_id: str = "run-1") -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.endpoint = endpoint or f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self._socket.bind(self.endpoint)
        self.run_id = run_id
        self.sequence = 0
        self.document = make_fleet()
        self._requests: list[bytes] = []
        self._subscribers: set[bytes] = set()

    async def next_picture_request(self) -> bytes:
        """The topic of the newest request for the document that is still open."""
        while True:
            await self.next_request()
            while self._socket.poll(0):
                await self.next_request()
            if self._requests:
                return self._requests.pop()

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer all requests inside the block, like a real broker: a request may be repeated."""

        async def answer() -> None:
            while True:
                self.send_picture(await self.next_picture_request())

        task = asyncio.ensure_future(answer())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def next_request(self) -> bytes:
        """The next request of any kind; its sender receives whatever is sent from then on."""
        await wait_for(lambda: bool(self._socket.poll(0)))
        sender, request = self._socket.recv_multipart()
        self._subscribers.add(sender)
        if request.startswith(b"picture/"):
            self._requests.append(request)
        return bytes(request)

    async def next_recent_request(self) -> bytes:
        """The topic of the next request for the last hour."""
        while not (request := await self.next_request()).startswith(b"recent/"):
            pass
        return request

    def send_recent(self, topic: bytes, answer: dict[str, Any] | None) -> None:
        self._send_to_all(topic, pack({"run_id": self.run_id, "recent": answer}))

    def send_picture(self, topic: bytes) -> None:
        self._send(topic, fleet=self.document)

    def send_patch(self, patch: dict[str, Any]) -> None:
        self.document = merge(self.document, patch)
        self.sequence += 1
        self._send(b"patch", patch=patch)

    def lose_patch(self, patch: dict[str, Any]) -> None:
        """Change the document by a patch that never arrives."""
        self.document = merge(self.document, patch)
        self.sequence += 1

    def send_raw(self, frames: list[bytes]) -> None:
        """Send what no broker sends."""
        for subscriber in self._subscribers:
            self._socket.send_multipart([subscriber, *frames])

    def _send(self, topic: bytes, **content: Any) -> None:
        update = {"run_id": self.run_id, "sequence": self.sequence, **content}
        self._send_to_all(topic, pack(update))

    def _send_to_all(self, topic: bytes, data: bytes) -> None:
        for subscriber in self._subscribers:
            self._socket.send_multipart([subscriber, topic, data])

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


class House:
    """A running web server, with a client and its broker."""

    def __init__(self, url: str, client: aiohttp.ClientSession, broker: Broker) -> None:
        self.url = url
        self.root = url[: url.index("/", len("http://")) + 1]
        self.port = int(self.root.rsplit(":", 1)[1].strip("/"))
        self.client = client
        self.broker = broker

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON of a path below the root."""
        async with self.client.get(self.root + path, **options) as response:
            return response.status, await response.json()

    async def show(self, **hosts: Any) -> None:
        """Wait until the server has the broker's document, with these hosts."""

        def shown(_: int, fleet: Any) -> bool:
            return "now" in fleet and fleet["hosts"].keys() == hosts.keys()

        self.broker.document = make_fleet(**hosts)
        async with self.broker.answering():
            await self.until("api/v1/fleet", shown)

    async def until(self, path: str, holds: Callable[[int, Any], bool]) -> Any:
        """The JSON of a path once the condition is met."""
        answer: Any = None

        async def poll() -> bool:
            nonlocal answer
            status, answer = await self.get(path)
            return holds(status, answer)

        await wait_for(poll)
        return answer

    def watch(self, path: str = "ws", protocol: str | None = None, **options: Any) -> Any:
        """A websocket client, as a context manager."""
        protocols = () if protocol is None else (protocol,)
        return self.client.ws_connect(self.root + path, protocols=protocols, **options)


@asynccontextmanager
async def web_house(
    headers: dict[str, str] | None = None, limits: WebLimits | None = None, **settings: Any
) -> AsyncIterator[House]:
    """A running web server whose broker has sent nothing yet; `headers` are sent by its client."""
    broker = Broker()
    ready = asyncio.Event()
    urls: list[str] = []

    def report_url(url: str) -> None:
        urls.append(url)
        ready.set()

    chosen = {"updates_endpoint": broker.endpoint, "rpc_timeout": PATIENCE_SECONDS, **settings}
    running = run(WebSettings(web_port=0, **chosen), report_url, limits=limits or WebLimits())
    server = asyncio.ensure_future(running)
    server.add_done_callback(lambda _: ready.set())
    try:
        await ready.wait()
        if server.done():
            server.result()
        async with aiohttp.ClientSession(headers=headers) as client:
            house = House(urls[0], client, broker)
            yield house
            broker = house.broker
    finally:
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
        broker.close()


async def wait_for(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until a condition holds; TimeoutError if it does not in time."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        held = holds()
        if held if isinstance(held, bool) else await held:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError("the condition never held")
        await asyncio.sleep(0.01)


def decode(message: aiohttp.WSMessage, protocol: str | None = None) -> Any:
    """Decode a frame of a subprotocol."""
    if protocol is None or protocol.endswith(".json"):
        assert message.type is aiohttp.WSMsgType.TEXT
        return json.loads(message.data)
    assert message.type is aiohttp.WSMsgType.BINARY
    if protocol.endswith(".msgpack"):
        return unpack(message.data)
    return json.loads(zlib.decompress(message.data, -15))


class Follower:
    """A client that follows the protocol: the fleet, then patches without a gap."""

    def __init__(self, socket: Any, protocol: str | None = None) -> None:
        self._socket = socket
        self._protocol = protocol
        self.sequence: int | None = None
        self.document: Any = None
        self.fleets = 0

    async def receive(self) -> Any:
        """Receive and apply the next message."""
        message = decode(await self._socket.receive(timeout=PATIENCE_SECONDS), self._protocol)
        if message["type"] == "fleet":
            self.document = message["fleet"]
            self.fleets += 1
        else:
            assert self.sequence is not None and message["sequence"] == self.sequence + 1
            self.document = merge(self.document, message["patch"])
        self.sequence = message["sequence"]
        return message

    async def next_change(self) -> Any:
        """Receive the next patch that is not a heartbeat."""
        while (patch := (await self.receive())["patch"]).keys() <= {"now"}:
            pass
        return patch

    async def until(self, holds: Callable[[Any], bool]) -> None:
        """Receive until the document meets the condition."""
        while self.document is None or not holds(self.document):
            await self.receive()
