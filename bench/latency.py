"""How old a sample is when it reaches browsers: 1,000 hosts, 100 viewers, a tick of 0.05 s.

    python bench/latency.py [--hosts 1000] [--viewers 100] [--seconds 10] [--tick 0.05]

Four processes: one sends the snapshots of a fleet, one per host and second, spread evenly; the
broker and the web server run as the command runs them; this one holds the viewers, raw sockets
that use the page's subprotocol. Each snapshot carries the time just before it was made; it has
reached a viewer once the last byte of the frame is read. The floor sends the same snapshots to a
bare PULL socket of this process. Prints measurements, asserts nothing.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import re
import selectors
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import psutil
import zmq

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from gpu_monitor.wire.clock import boottime  # noqa: E402
from gpu_monitor.wire.codec import pack, unpack  # noqa: E402
from tests.support.snapshots import make_gpus, make_processes, make_snapshot  # noqa: E402 - not installed

GPUS = 8
SLOTS = 100
WARM_SECONDS = 6.0
"""The broker shows a host only once a second snapshot has confirmed the first."""
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: gpu-monitor.v1.deflate\r\n"
    "Sec-WebSocket-Key: {}\r\n\r\n"
)
HEAD = re.compile(r'\{"type":"(\w+)","sequence":(\d+),')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tick", type=float, default=0.05)
    parser.add_argument("--part", choices=("broker", "web", "send"), help=argparse.SUPPRESS)
    parser.add_argument("--at", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "broker":
        asyncio.run(run_broker(options.at, options.tick))
    elif options.part == "web":
        asyncio.run(run_web(options.at))
    elif options.part == "send":
        send(options.at, options.hosts)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    bare = measure_floor(options)
    ages, frames, cpu = measure(options)
    print(
        f"{options.hosts} hosts x {GPUS} GPUs at 1 Hz, {options.viewers} viewers,"
        f" tick {options.tick} s, {len(ages)} readings at viewers"
    )
    print(f"{'':>18} {'p50 ms':>7} {'p90 ms':>7} {'p99 ms':>7} {'max ms':>7}")
    for name, values in (("sample to viewer", ages), ("to a bare socket", bare)):
        print(
            f"{name:>18}", *(f"{1000 * share(values, part):7.1f}" for part in (0.5, 0.9, 0.99, 1))
        )
    print(f"frames: {frames['count']} per viewer, {frames['bytes'] / 1000:.1f} kB on average")
    print("CPU, percent of one core:", ", ".join(f"{k} {v:.0f}" for k, v in cpu.items()))


def share(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))]


def measure_floor(options: argparse.Namespace) -> list[float]:
    """Sorted ages of the snapshots at a bare socket."""
    pull: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    sender = start(options, "send", f"tcp://127.0.0.1:{port}")
    ages, end = [], boottime() + 4
    while (at := boottime()) < end:
        if pull.poll(100):
            data = pull.recv()
            at = boottime()
            message: Any = unpack(data)
            if at > end - 3:
                ages.append(at - message["system"]["made_at"])
    stop(sender)
    pull.close(linger=0)
    return sorted(ages)


def measure(options: argparse.Namespace) -> tuple[list[float], dict[str, float], dict[str, float]]:
    """Sorted ages of all readings at all viewers, frames per viewer, and CPU by process."""
    rpc, updates = free_endpoint(), free_endpoint()
    parts = {"broker": start(options, "broker", f"{rpc} {updates}")}
    try:
        parts["web"] = start(options, "web", updates)
        address = parts["web"].stdout.readline().strip()
        parts["collectors"] = start(options, "send", rpc)
        viewers = [Viewer(address) for _ in range(options.viewers)]
        read(viewers, WARM_SECONDS)
        processes = {name: psutil.Process(child.pid) for name, child in parts.items()}
        before = {name: cpu_seconds(process) for name, process in processes.items()}
        began = boottime()
        read(viewers, options.seconds)
        took = boottime() - began
        cpu = {n: 100 * (cpu_seconds(p) - before[n]) / took for n, p in processes.items()}
    finally:
        for child in parts.values():
            stop(child)
    made = made_at(viewers[0], began)
    ages = [
        at - then
        for viewer in viewers
        for sequence, at in viewer.read_at.items()
        for then in made.get(sequence, ())
    ]
    sizes = [len(frame) for at, frame in viewers[0].frames if at > began]
    frames = {"count": len(sizes), "bytes": sum(sizes) / max(1, len(sizes))}
    return sorted(ages), frames, cpu


def made_at(viewer: "Viewer", began: float) -> dict[int, list[float]]:
    """When the readings of each patch were made, by sequence number."""
    made = {}
    for at, frame in viewer.frames:
        message = json.loads(zlib.decompress(frame, -15))
        if at > began and message["type"] == "patch":
            hosts = message["patch"].get("hosts", {}).values()
            times = [host.get("system", {}).get("made_at") for host in hosts]
            made[message["sequence"]] = [then for then in times if then is not None]
    return made


def read(viewers: list["Viewer"], seconds: float) -> None:
    selector = selectors.DefaultSelector()
    for viewer in viewers:
        selector.register(viewer.socket, selectors.EVENT_READ, viewer)
    end = boottime() + seconds
    while boottime() < end:
        for key, _ in selector.select(0.1):
            key.data.read()
    selector.close()


class Viewer:
    """A browser's end of the websocket: arrival times by sequence number."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(HANDSHAKE.format(key).encode())
        while not self.socket.recv(1, socket.MSG_PEEK):
            pass
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        self.read_at: dict[int, float] = {}
        self.frames: list[tuple[float, bytes]] = []
        self._data = bytearray()

    def read(self) -> None:
        self._data += self.socket.recv(1 << 20)
        at = boottime()
        while (frame := self._frame()) is not None:
            start = zlib.decompressobj(-15).decompress(frame, 60).decode()
            head = HEAD.match(start)
            assert head is not None
            if head[1] == "patch":
                self.read_at[int(head[2])] = at
            self.frames.append((at, frame))

    def _frame(self) -> bytes | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start or len(data) < start + size:
            return None
        frame = bytes(data[start : start + size])
        control = data[0] & 8
        del data[: start + size]
        return self._frame() if control else frame


def send(endpoint: str, hosts: int) -> None:
    """Send for every host once per second, evenly spaced; each GPU's fast values change."""
    push: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
    push.setsockopt(zmq.LINGER, 0)
    push.connect(endpoint)
    chance = random.Random(7)
    snapshots = [make_host(number) for number in range(hosts)]
    began, slot = boottime(), 0
    while True:
        for number in range(slot % SLOTS, hosts, SLOTS):
            snapshot = snapshots[number]
            snapshot["sequence"] += 1
            snapshot["sampled_boottime"] = snapshot["system"]["made_at"] = boottime()
            snapshot["sampled_at"] = time.time()
            gpus = snapshot["gpus"]
            gpus["utilization_percent"] = [chance.randrange(101) for _ in range(GPUS)]
            gpus["memory_used_mib"] = [chance.randrange(81559) for _ in range(GPUS)]
            gpus["power_watts"] = [chance.randrange(70, 700) for _ in range(GPUS)]
            push.send(pack(snapshot))
        slot += 1
        time.sleep(max(0.0, began + slot / SLOTS - boottime()))


def make_host(number: int) -> dict[str, Any]:
    one = make_processes()
    processes = {key: column * GPUS for key, column in one.items()}
    processes |= {"gpu": list(range(GPUS)), "pid": list(range(4000, 4000 + GPUS))}
    uuids = [f"GPU-{number:08x}-0000-1111-2222-{row:012x}" for row in range(GPUS)]
    gpus = make_gpus(GPUS, uuid=uuids)
    more = {"run_id": f"run-{number}", "boot_id": f"boot-{number}", "gpus": gpus}
    return make_snapshot(f"node{number}", 1, processes=processes, **more)


async def run_broker(at: str, tick: float) -> None:
    from gpu_monitor.broker.main import run
    from gpu_monitor.broker.settings import BrokerSettings

    rpc, updates = at.split()
    settings = BrokerSettings(rpc_endpoints=(rpc,), updates_endpoints=(updates,), tick=tick)
    await run(settings)


async def run_web(endpoint: str) -> None:
    from gpu_monitor.web.main import run
    from gpu_monitor.web.settings import WebSettings

    def ready(url: str) -> None:
        print(url.removeprefix("http://").rstrip("/"), flush=True)

    await run(WebSettings(updates_endpoint=endpoint, web_port=0), ready)


def start(options: argparse.Namespace, part: str, at: str) -> Any:
    command = [sys.executable, __file__, "--part", part, "--at", at]
    command += ["--hosts", str(options.hosts), "--tick", str(options.tick)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def stop(child: Any) -> None:
    child.kill()
    child.communicate()


def free_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
