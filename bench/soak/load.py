"""The load of the soak test: collectors of other hosts, and viewers.

Usage: `load.py push ENDPOINT KEYS HOSTS` or `load.py view URL VIEWERS`, until killed.
"""

import asyncio
import random
import sys
import time

import aiohttp

from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.demo.host import SimulatedHost
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.curve.client import Lock

INTERVAL_SECONDS = 0.1
GPUS = 8
FAST = 60
"""Jobs come and go this many times faster than in the demo."""
HOST_SECONDS = 120.0
"""Mean time until a collector restarts."""
VIEWER_SECONDS = 20.0
POLL_SECONDS = 0.5
PROTOCOLS = ("gpu-monitor.v1.json", "gpu-monitor.v1.msgpack", "gpu-monitor.v1.deflate")
PATHS = (
    "",
    "healthz",
    "readyz",
    "metrics",
    "api/v1/fleet",
    "api/v1/hosts/real",
    "api/v1/hosts/nobody",
    "api/v1/hosts/soak0/recent",
    "api/v1/recent",
    "api/v1/users",
    "api/v1/free?gpus=2&memory_gib=40",
    "api/v1/ticket",
)


class Collector:
    """A simulated host with keys that restarts now and then."""

    def __init__(self, number: int, endpoint: str, keys: str) -> None:
        self._number, self._endpoint = number, endpoint
        self._keys = f"{keys}/soak{number}"
        self._seed = 0
        self._start()

    def _start(self) -> None:
        self._seed += 1
        self._host = SimulatedHost(self._number, GPUS, time.time(), self._seed)
        self._pusher = Pusher(self._endpoint, lock=Lock(self._keys, ""))

    def push(self, began: float) -> None:
        if random.random() < INTERVAL_SECONDS / HOST_SECONDS:
            self._pusher.close()
            self._start()
        now = time.time()
        self._host.step(began + FAST * (now - began))
        self._pusher.push(pack(self._host.snapshot(now, boottime(), INTERVAL_SECONDS)))


def push(endpoint: str, keys: str, hosts: int) -> None:
    collectors = [Collector(number, endpoint, keys) for number in range(hosts)]
    began, pushed = time.time(), 0
    while True:
        collectors[pushed % hosts].push(began)
        pushed += 1
        time.sleep(max(0.0, began + pushed * INTERVAL_SECONDS / hosts - time.time()))


async def view(url: str, viewers: int) -> None:
    async with aiohttp.ClientSession() as client:
        await asyncio.gather(ask(client, url), *(come_and_go(url) for _ in range(viewers)))


async def come_and_go(url: str) -> None:
    """One viewer after another: each reads for a while, then leaves in one of several ways."""
    while True:
        stay = random.expovariate(1 / VIEWER_SECONDS)
        hosts = random.choice(("", "", "?hosts=real", f"?hosts=soak{random.randrange(5)},real"))
        async with aiohttp.ClientSession() as client:
            protocols = (random.choice(PROTOCOLS),)
            socket = await client.ws_connect(f"{url}ws{hosts}", protocols=protocols, max_msg_size=0)
            end = time.monotonic() + stay
            while time.monotonic() < end and not socket.closed:
                await socket.receive()
            if random.random() < 0.2:  # it stops reading; after a while it is abandoned
                await asyncio.sleep(stay)
            if random.random() < 0.7:  # otherwise the connection is aborted
                await socket.close()


async def ask(client: aiohttp.ClientSession, url: str) -> None:
    while True:
        async with client.get(url + random.choice(PATHS)) as answer:
            await answer.read()
        await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    if sys.argv[1] == "push":
        push(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        asyncio.run(view(sys.argv[2], int(sys.argv[3])))
