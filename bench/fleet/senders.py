"""The collectors of a fleet in one process: each host sends a snapshot once per second.

Every second, three quarters of the GPUs change utilization, memory, power and temperature, along
with those of their processes, and 70 % of the hosts change CPU and memory.
"""

import random
import socket
import struct
import sys
import time
from typing import Any

import zmq

from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.document import FINDING_COLUMNS, GPU_COLUMNS, PROCESS_COLUMNS

SLOTS = 100
"""Hosts send evenly over the second, in this many batches."""
VARIANTS = 64
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"


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
        connection.recv(header[-1], socket.MSG_WAITALL)  # its READY: it accepts messages now
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
    """One host's snapshot, packed once; changed values are overwritten in place."""

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
        """Where the value of the last of these nested keys begins, as msgpack packs it."""
        place = 0
        for name in names:
            key = pack(name.decode())
            place = self.data.index(key, place) + len(key)
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
    """Variants of a column; three quarters of the values differ from one to the next."""
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
    b"memory_controller_utilization_percent": variants(8, 0, 101),
    b"temperature_celsius": variants(8, 30, 85),
    b"power_watts": variants(8, 256, 700),
}
PROCESSES = {
    b"gpu_memory_mib": variants(8, 256, 65_536),
    b"sm_utilization_percent": variants(8, 0, 101),
}


def snapshot(number: int, gpus: int) -> dict[str, Any]:
    """A snapshot with every column: one process per GPU, two users per host, 500 in all."""
    values: dict[str, Any] = {
        "name": "NVIDIA H100 80GB HBM3",
        "state": "ok",
        "mig_mode": "disabled",
        "compute_mode": "default",
        "memory_kind": "device",
        "memory_total_mib": 81_559,
        "memory_used_mib": 1000,
        "utilization_percent": 50,
        "memory_controller_utilization_percent": 40,
        "temperature_celsius": 60,
        "slowdown_celsius": 87,
        "power_watts": 500,
        "power_limit_watts": 700,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "throttle": [],
        "health": "ok",
        "processes_unread": None,
        "process_memory_mib": None,
        "activity": "working",
        "health_reasons": [],
    }
    table = {key: [values.get(key)] * gpus for key in GPU_COLUMNS}
    table["index"] = list(range(gpus))
    table["uuid"] = [f"GPU-{number:08x}-0000-1111-2222-{row:012x}" for row in range(gpus)]
    table["pci_bus_id"] = [f"00000000:{row + 16:02X}:00.0" for row in range(gpus)]
    own = {
        "uid": 1000,
        "command": "python train.py",
        "slurm_job_id": str(number),
        "pod_uid": None,
        "type": "C",
        "started_at": 1_700_000_000.5,
        "gpu_memory_mib": 1000,
        "sm_utilization_percent": 50,
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
        "findings": {key: [] for key in FINDING_COLUMNS},
        "collector": {
            "version": "0.1.0",
            "cpu_percent": 0.2,
            "memory_mib": 25,
            "sample_seconds": 0.002,
        },
    }
