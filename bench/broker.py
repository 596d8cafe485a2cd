"""What a snapshot costs the broker, against receiving and unpacking the same bytes.

    python bench/broker.py [--hosts 10000] [--gpus 8] [--seconds 10]

Three processes: one sends what the collectors of a fleet would, one TCP connection per host (as
many as the limit of open files allows), each host once a second; one is the broker as the
command runs it; this one follows the updates as a web server does. Before that the same bytes
go to a process that receives and unpacks them and nothing else: the floor. Each second three
quarters of the GPUs change utilization, memory, power and temperature, with them what their
processes take, and 70 % of the hosts CPU and memory. CPU is user and system time of all threads
of the process, after every host is live. Prints figures, asserts nothing.
"""

import argparse
import asyncio
import random
import resource
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import zmq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from broker.main import boottime, run  # noqa: E402 - the repository need not be installed
from broker.settings import BrokerSettings  # noqa: E402
from wire.codec import pack, unpack, unpack_trusted  # noqa: E402
from wire.document import GPU_COLUMNS, PROCESS_COLUMNS  # noqa: E402

SLOTS = 100
"""The hosts send spread over the second, as many in each hundredth."""
VARIANTS = 64
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"


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
        f" snapshots a second of {cost['bytes']} bytes, {cost['connections']} connections"
    )
    print(f"broker            {cost['cpu']:6.1f} % of one core  {cost['each']:6.1f} us a snapshot")
    print(
        f"receive + unpack  {floor_cost['cpu']:6.1f} % of one core "
        f" {floor_cost['each']:6.1f} us a snapshot"
    )
    print(f"ratio             {cost['each'] / floor_cost['each']:6.2f}")
    print(
        f"resident          {cost['rss'] / hosts / 1024:6.1f} KiB a host"
        f" (receive + unpack alone {floor_cost['rss'] / hosts / 1024:.1f} KiB)"
    )
    print(
        f"patches           {cost['patches'] / seconds:6.1f} a second"
        f" of {cost['patch_bytes'] / max(1, cost['patches']) / 1024:.0f} KiB"
    )
    print(
        f"live              {totals['hosts_live']} hosts, {totals['gpus']} GPUs,"
        f" {totals['users']} users; not sent in time {cost['late']},"
        f" refused {broker['refused'] or 0}"
    )


def measure(
    options: argparse.Namespace, part: str, seconds: float
) -> tuple[dict[str, float], dict[str, Any]]:
    """CPU, memory and counts of the process `part` while the fleet sends to it."""
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
    """How many snapshots have been sent by now, and how many could not be."""
    assert sender.stdin is not None and sender.stdout is not None
    sender.stdin.write("\n")
    sender.stdin.flush()
    sent, late = sender.stdout.readline().split()
    return int(sent), int(late)


def free_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


class Follower:
    """Counts patches; asks for a picture where a figure of the document is wanted."""

    def __init__(self, endpoint: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = context.socket(zmq.SUB)
        self.socket.subscribe(b"patch")
        self.socket.connect(endpoint)
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
                message: Any = unpack_trusted(data)
                self._live = message["patch"].get("totals", {}).get("hosts_live", self._live)

    def picture(self) -> dict[str, Any]:
        self.socket.unsubscribe(b"patch")
        self.socket.subscribe(b"picture/" + b"0" * 32)
        while True:
            topic, data = self.socket.recv_multipart()
            if topic.startswith(b"picture/"):
                message: Any = unpack_trusted(data)
                fleet: dict[str, Any] = message["fleet"]
                return fleet


def floor(endpoint: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.bind(endpoint)
    while True:
        unpack(pull.recv())


class Senders:
    """The collectors of a fleet: raw sockets that speak ZeroMQ's protocol (ZMTP 3.0, NULL)."""

    def __init__(self, hosts: int, gpus: int, connections: int, endpoint: str) -> None:
        self.random = random.Random(7)
        self.messages = [Message(number, gpus, self.random) for number in range(hosts)]
        port = int(endpoint.rpartition(":")[2])
        self.sockets = [self.connect(port) for _ in range(connections)]
        self.sent = self.late = 0
        self.rest: dict[int, memoryview] = {}

    def connect(self, port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(GREETING + b"\x04" + bytes((len(READY),)) + READY)
        header = connection.recv(len(GREETING) + 2, socket.MSG_WAITALL)
        connection.recv(header[-1], socket.MSG_WAITALL)  # its READY: messages may come now
        connection.setblocking(False)
        return connection

    def run(self) -> None:
        print(len(self.sockets), len(self.messages[0].data) - 9, flush=True)
        slot, began = 0, time.monotonic()
        poller = zmq.Poller()
        poller.register(sys.stdin, zmq.POLLIN)
        while True:
            for number in range(slot % SLOTS, len(self.messages), SLOTS):
                self.send(number, slot // SLOTS)
            slot += 1
            wait = began + slot / SLOTS - time.monotonic()
            if poller.poll(max(0, int(1000 * wait))):
                sys.stdin.readline()
                print(self.sent, self.late, flush=True)
                time.sleep(max(0.0, began + slot / SLOTS - time.monotonic()))

    def send(self, number: int, second: int) -> None:
        way = number % len(self.sockets)
        data: bytes | memoryview = self.rest.pop(way, b"")
        if not data:
            data = memoryview(self.messages[number].at(second, self.random))
        else:
            self.late += 1
        try:
            gone = self.sockets[way].send(data)
        except BlockingIOError:
            gone = 0
        self.sent += 1
        if gone < len(data):
            self.rest[way] = memoryview(bytes(data[gone:]))


class Message:
    """One host's snapshot, packed once; what changes is written over in place."""

    def __init__(self, number: int, gpus: int, chance: random.Random) -> None:
        body = pack(snapshot(number, gpus))
        self.data = bytearray(b"\x02" + struct.pack(">Q", len(body)) + body)
        self.sequence = self.after(b"sequence")
        self.boottime = self.after(b"sampled_boottime")
        self.sampled = self.after(b"sampled_at")
        self.cpu = self.after(b"system", b"cpu_percent")
        self.memory = self.after(b"system", b"memory_used_mib")
        self.gpu_columns = [self.after(b"gpus", name) + 1 for name in COLUMNS]
        self.process_columns = [self.after(b"processes", name) + 1 for name in PROCESSES]
        self.start = chance.randrange(VARIANTS)

    def after(self, *names: bytes) -> int:
        place = 0
        for name in names:
            place = (
                self.data.index(
                    bytes((0xA0 + len(name),)) + name if len(name) < 32 else name, place
                )
                + 1
                + len(name)
            )
        return place

    def at(self, second: int, chance: random.Random) -> bytearray:
        data = self.data
        struct.pack_into(">BI", data, self.sequence, 0xCE, 100_000 + second)
        struct.pack_into(">Bd", data, self.boottime, 0xCB, boottime())
        struct.pack_into(">Bd", data, self.sampled, 0xCB, time.time())
        variant = (self.start + second) % VARIANTS
        for place, variants in zip(self.gpu_columns, COLUMNS.values(), strict=True):
            data[place : place + len(variants[0])] = variants[variant]
        for place, variants in zip(self.process_columns, PROCESSES.values(), strict=True):
            data[place : place + len(variants[0])] = variants[variant]
        if chance.random() < 0.7:
            data[self.cpu] = variant
            struct.pack_into(">I", data, self.memory + 1, 100_000 + variant)
        return data


def variants(gpus: int, low: int, high: int) -> list[bytes]:
    """Columns in which from one to the next three quarters of the values differ."""
    chance = random.Random(high)
    column, result = [chance.randrange(low, high) for _ in range(gpus)], []
    for _ in range(VARIANTS):
        for row in chance.sample(range(gpus), (3 * gpus + 3) // 4):
            column[row] = chance.randrange(low, high)
        result.append(pack(column)[1:])
    return result


COLUMNS = {
    b"memory_used_mib": variants(8, 256, 65_536),
    b"utilization_percent": variants(8, 0, 101),
    b"memory_utilization_percent": variants(8, 0, 101),
    b"temperature_celsius": variants(8, 30, 85),
    b"power_watts": variants(8, 256, 700),
}
PROCESSES = {
    b"gpu_memory_mib": variants(8, 256, 65_536),
    b"sm_percent": variants(8, 0, 101),
}


def snapshot(number: int, gpus: int) -> dict[str, Any]:
    """Every column of the wire: one process per GPU, two users on a host, 500 in all."""
    values: dict[str, Any] = {
        "name": "NVIDIA H100 80GB HBM3",
        "state": "ok",
        "memory_kind": "device",
        "memory_total_mib": 81_559,
        "memory_used_mib": 1000,
        "utilization_percent": 50,
        "memory_utilization_percent": 40,
        "temperature_celsius": 60,
        "slowdown_celsius": 87,
        "power_watts": 500,
        "power_limit_watts": 700,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "throttle": [],
    }
    table = {key: [values.get(key)] * gpus for key in GPU_COLUMNS}
    table["index"] = list(range(gpus))
    table["uuid"] = [f"GPU-{number:08x}-0000-1111-2222-{row:012x}" for row in range(gpus)]
    table["pci_bus_id"] = [f"00000000:{row + 16:02X}:00.0" for row in range(gpus)]
    own = {
        "uid": 1000,
        "command": "python train.py",
        "job": str(number),
        "type": "C",
        "started_at": 1_700_000_000.5,
        "gpu_memory_mib": 1000,
        "sm_percent": 50,
    }
    processes = {key: [own.get(key)] * gpus for key in PROCESS_COLUMNS}
    processes["gpu"] = list(range(gpus))
    processes["pid"] = [40_000 + row for row in range(gpus)]
    processes["user"] = [f"user{(2 * number + row // 4) % 500}" for row in range(gpus)]
    return {
        "version": 1,
        "name": f"node{number}",
        "boot_id": f"{number:036}",
        "run_id": f"{number:032}",
        "sequence": 100_000,
        "interval_seconds": 1.0,
        "sampled_boottime": 0.5,
        "sampled_at": 0.5,
        "problems": [],
        "system": {
            "hostname": f"node{number}",
            "os": "Debian GNU/Linux 12",
            "kernel": "6.1.0-18-amd64",
            "driver_version": "550.54.15",
            "cuda_version": "12.4",
            "booted_at": 1_700_000_000.0,
            "cpu_count": 128,
            "memory_total_mib": 1_031_000,
            "swap_total_mib": 0,
            "cpu_percent": 20,
            "memory_used_mib": 100_000,
            "load_1m": 12.5,
            "swap_used_mib": 0,
            "network_receive_kib_per_second": 12,
            "network_send_kib_per_second": 12,
        },
        "gpus": table,
        "processes": processes,
        "disks": {
            "mount": ["/", "/data"],
            "total_mib": [900_000, 9_000_000],
            "used_mib": [100_000, 5_000_000],
        },
        "collector": {
            "version": "0.1.0",
            "cpu_percent": 0.2,
            "memory_mib": 25,
            "sample_seconds": 0.002,
        },
    }


if __name__ == "__main__":
    main()
