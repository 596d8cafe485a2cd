"""What a snapshot costs the broker, compared with receiving and unpacking the same bytes.

    python bench/broker.py [--hosts 10000] [--gpus 8] [--seconds 10]

Three processes: one sends the snapshots of a fleet, once per second and host, over one TCP
connection per host (up to the limit of open files); one is the broker as the command runs it; this
one follows the updates like a web server. The floor is measured first: a process that only receives
and unpacks the same bytes. See bench/fleet/senders.py for what changes from second to second. CPU
is the user and system time of all threads of the process, once every host is live. Prints
measurements, asserts nothing.
"""

import argparse
import asyncio
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import zmq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.fleet.senders import Senders  # noqa: E402 - the repository need not be installed
from gpu_monitor.broker.main import run  # noqa: E402
from gpu_monitor.broker.settings import BrokerSettings  # noqa: E402
from gpu_monitor.wire.codec import unpack  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--part", choices=("broker", "floor", "send"), help=argparse.SUPPRESS)
    parser.add_argument("--at", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.part == "broker":
        rpc, updates = options.at.split()
        asyncio.run(run(BrokerSettings(rpc_endpoints=(rpc,), updates_endpoints=(updates,))))
    elif options.part == "floor":
        floor(options.at)
    elif options.part == "send":
        connections = min(options.hosts, most - 200)
        Senders(options.hosts, options.gpus, connections, options.at).run()
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    hosts, seconds = options.hosts, options.seconds
    floor_cost, _ = measure(options, "floor", seconds)
    cost, document = measure(options, "broker", seconds)
    totals, broker = document["totals"], document["broker"]
    print(
        f"{hosts} hosts x {options.gpus} GPUs and processes, {cost['sent'] / seconds:.0f}"
        f" snapshots per second of {cost['bytes']} bytes, {cost['connections']} connections"
    )
    print(
        f"broker            {cost['cpu']:6.1f} % of one core  {cost['each']:6.1f} us per snapshot"
    )
    print(
        f"receive + unpack  {floor_cost['cpu']:6.1f} % of one core "
        f" {floor_cost['each']:6.1f} us per snapshot"
    )
    print(f"ratio             {cost['each'] / floor_cost['each']:6.2f}")
    print(
        f"resident          {cost['rss'] / hosts / 1024:6.1f} KiB per host"
        f" (only receive + unpack: {floor_cost['rss'] / hosts / 1024:.1f} KiB)"
    )
    print(
        f"patches           {cost['patches'] / seconds:6.1f} per second"
        f" of {cost['patch_bytes'] / max(1, cost['patches']) / 1024:.0f} KiB"
    )
    print(
        f"live              {totals['hosts_live']} hosts, {totals['gpus']} GPUs,"
        f" {totals['users']} users; sent late {cost['late']},"
        f" refused {broker['refused'] or 0}"
    )


def measure(
    options: argparse.Namespace, part: str, seconds: float
) -> tuple[dict[str, float], dict[str, Any]]:
    """CPU, memory and counts of the process `part` while it receives from the fleet."""
    rpc, updates = free_endpoint(), free_endpoint()
    receiver = start(options, part, f"{rpc} {updates}" if part == "broker" else rpc)
    sender = None
    follower = Follower(updates)
    try:
        time.sleep(1.0)
        process = psutil.Process(receiver.pid)
        rss = process.memory_info().rss
        sender = start(options, "send", rpc)
        assert sender.stdout is not None
        connections, size = map(int, sender.stdout.readline().split())
        follower.follow(lambda: follower.live() == options.hosts if part == "broker" else True, 60)
        follower.follow(lambda: False, 5)
        before, patches, patch_bytes = process.cpu_times(), follower.patches, follower.bytes
        sent, _ = counts(sender)
        began = time.monotonic()
        follower.follow(lambda: False, seconds)
        took, after = time.monotonic() - began, process.cpu_times()
        more, late = counts(sender)
        cpu = after.user + after.system - before.user - before.system
        result = {
            "cpu": 100 * cpu / took,
            "each": 1e6 * cpu / max(1, more - sent),
            "sent": (more - sent) * seconds / took,
            "late": late,
            "bytes": size,
            "connections": connections,
            "rss": process.memory_info().rss - rss,
            "patches": follower.patches - patches,
            "patch_bytes": follower.bytes - patch_bytes,
        }
        return result, follower.picture() if part == "broker" else {}
    finally:
        for child in (sender, receiver):
            if child is not None:
                child.kill()
                child.communicate()
        follower.socket.close(linger=0)


def start(options: argparse.Namespace, part: str, at: str) -> "subprocess.Popen[str]":
    arguments = ["--hosts", str(options.hosts), "--gpus", str(options.gpus)]
    return subprocess.Popen(
        [sys.executable, __file__, "--part", part, "--at", at, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def counts(sender: "subprocess.Popen[str]") -> tuple[int, int]:
    """How many snapshots have been sent so far, and how many were late."""
    assert sender.stdin is not None and sender.stdout is not None
    sender.stdin.write("\n")
    sender.stdin.flush()
    sent, late = sender.stdout.readline().split()
    return int(sent), int(late)


def free_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


class Follower:
    """Counts patches, and requests the whole document on demand."""

    def __init__(self, endpoint: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = context.socket(zmq.DEALER)
        self.socket.connect(endpoint)
        self.socket.send(b"patch")
        self.patches = self.bytes = 0
        self._live = 0

    def live(self) -> int:
        return self._live

    def follow(self, done: Any, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done() and (rest := end - time.monotonic()) > 0:
            if self.socket.poll(int(1000 * rest)):
                _, data = self.socket.recv_multipart()
                self.patches += 1
                self.bytes += len(data)
                message: Any = unpack(data)
                self._live = message["patch"].get("totals", {}).get("hosts_live", self._live)

    def picture(self) -> dict[str, Any]:
        self.socket.send(b"picture/" + b"0" * 32)
        while True:
            topic, data = self.socket.recv_multipart()
            if topic.startswith(b"picture/"):
                message: Any = unpack(data)
                fleet: dict[str, Any] = message["fleet"]
                return fleet


def floor(endpoint: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.bind(endpoint)
    while True:
        unpack(pull.recv())


if __name__ == "__main__":
    main()
