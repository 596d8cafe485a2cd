"""What CURVE costs per message: the same snapshots to the same broker, with and without keys.

    python bench/keys.py [--hosts 500] [--rate 1000] [--seconds 10]

Three processes: the broker as the command runs it, with or without a folder of keys; a sender with
one connection per host; and this one, which measures their CPU time. Runs with and without keys
alternate, two of each. The broker's CPU includes receiving and publishing; the last column is what
keys add. Prints measurements, asserts nothing.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import zmq

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.latency import cpu_seconds, free_endpoint, make_host  # noqa: E402
from gpu_monitor.wire.clock import boottime  # noqa: E402
from gpu_monitor.wire.codec import pack  # noqa: E402
from gpu_monitor.wire.curve.keys import own_pair  # noqa: E402
from tests.support.key_folders import KeyFolders  # noqa: E402 - not installed

WARM_SECONDS = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument(
        "--rate", type=int, default=1000, help="messages per second from all hosts together"
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--part", choices=("broker", "send"), help=argparse.SUPPRESS)
    parser.add_argument("--at", default="", help=argparse.SUPPRESS)
    parser.add_argument("--keys", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "broker":
        asyncio.run(run_broker(options.at, options.keys))
    elif options.part == "send":
        send(options)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as place:
        issue(Path(place), options.hosts)
        for _ in range(2):
            for keyed in found:
                found[keyed].append(measure(options, place if keyed else ""))
    size = len(pack(make_host(0)))
    print(f"{options.rate} messages/s of {size} bytes over {options.hosts} connections")
    print(f"{'CPU us per message':>18} {'plain':>8} {'keys':>8} {'added':>8}")
    for column, name in enumerate(("broker", "all collectors")):
        plain, locked = (min(run[column] for run in found[which]) for which in (False, True))
        print(f"{name:>18} {plain:8.1f} {locked:8.1f} {locked - plain:8.1f}")
    plain, locked = (min(patch(keyed) for _ in range(3)) for keyed in (False, True))
    print(f"{'a 100 kB patch':>18} {plain:8.1f} {locked:8.1f} {locked - plain:8.1f}  (both ends)")
    print(f"one connection with keys, both ends: {1000 * handshake():.2f} ms of CPU")


def issue(place: Path, hosts: int) -> None:
    """Enrol `hosts` keys with a broker, and write a file with their pairs for the sender."""
    folders = KeyFolders(place)
    (place / "broker/hosts").mkdir(mode=0o700)
    pairs = [[text.decode() for text in zmq.curve_keypair()] for _ in range(hosts)]
    for number, (public, _) in enumerate(pairs):
        (place / f"broker/hosts/node{number}.pub").write_text(public)
    broker = own_pair(folders.broker).public
    (place / "pairs.json").write_text(json.dumps([broker, pairs]))


def measure(options: argparse.Namespace, place: str) -> tuple[float, float]:
    """CPU microseconds per message of the broker and of the sender."""
    rpc, updates = free_endpoint(), free_endpoint()
    parts = [
        start(options, "broker", f"{rpc} {updates}", place and f"{place}/broker"),
        start(options, "send", rpc, place and f"{place}/pairs.json"),
    ]
    try:
        time.sleep(WARM_SECONDS + options.hosts / 1000)
        processes = [psutil.Process(child.pid) for child in parts]
        before, began = [cpu_seconds(process) for process in processes], boottime()
        time.sleep(options.seconds)
        messages = options.rate * (boottime() - began)
        broker, sender = (
            1e6 * (cpu_seconds(process) - spent) / messages
            for process, spent in zip(processes, before, strict=True)
        )
    finally:
        for child in parts:
            child.kill()
            child.wait()
    return broker, sender


def start(options: argparse.Namespace, part: str, at: str, keys: str) -> Any:
    command = [sys.executable, __file__, "--part", part, "--at", at, "--keys", keys]
    command += ["--hosts", str(options.hosts), "--rate", str(options.rate)]
    return subprocess.Popen(command, cwd=ROOT)


async def run_broker(at: str, keys: str) -> None:
    from gpu_monitor.broker.main import run
    from gpu_monitor.broker.settings import BrokerSettings

    rpc, updates = at.split()
    settings = BrokerSettings(rpc_endpoints=(rpc,), updates_endpoints=(updates,), keys=keys)
    await run(settings)


def send(options: argparse.Namespace) -> None:
    """Send for one host after another, evenly spaced; some values change each time."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.max_sockets = options.hosts + 10
    broker, pairs = json.loads(Path(options.keys).read_text()) if options.keys else ("", [])
    sockets = []
    for number in range(options.hosts):
        push = context.socket(zmq.PUSH)
        push.linger = 0
        if pairs:
            push.curve_publickey, push.curve_secretkey = map(str.encode, pairs[number])
            push.curve_serverkey = broker.encode()
        push.connect(options.at)
        sockets.append(push)
    chance = random.Random(7)
    snapshots = [make_host(number) for number in range(options.hosts)]
    began, sent = boottime(), 0
    while True:
        for _ in range(max(1, options.rate // 100)):
            snapshot = snapshots[sent % options.hosts]
            snapshot["sequence"] += 1
            snapshot["sampled_boottime"], snapshot["sampled_at"] = boottime(), time.time()
            snapshot["gpus"]["utilization_percent"] = [chance.randrange(101) for _ in range(8)]
            sockets[sent % options.hosts].send(pack(snapshot))
            sent += 1
        time.sleep(max(0.0, began + sent / options.rate - boottime()))


class Ends:
    """A listening socket, with or without keys, and clients that connect to it."""

    def __init__(self, listening: int, connecting: int, locked: bool) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.listening = self.context.socket(listening)
        self._connecting, self._locked = connecting, locked
        self._public, secret = zmq.curve_keypair()
        if locked:
            self.listening.curve_server, self.listening.curve_secretkey = True, secret
        self._port = self.listening.bind_to_random_port("tcp://127.0.0.1")

    def connect(self) -> "zmq.Socket[bytes]":
        socket = self.context.socket(self._connecting)
        if self._locked:
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = self._public
        socket.connect(f"tcp://127.0.0.1:{self._port}")
        return socket


def patch(locked: bool) -> float:
    """CPU microseconds of both ends for a message of 100 kB on the updates link."""
    ends, data, count = Ends(zmq.ROUTER, zmq.DEALER, locked), b"x" * 100_000, 500
    subscriber = ends.connect()
    subscriber.send(b"patch")
    identity = ends.listening.recv_multipart()[0]
    spent = time.process_time()
    for _ in range(count):
        ends.listening.send_multipart([identity, data])
        subscriber.recv()
    spent = time.process_time() - spent
    ends.context.destroy(linger=0)
    return 1e6 * spent / count


def handshake() -> float:
    """CPU seconds of both ends for a new connection."""
    ends, count = Ends(zmq.PULL, zmq.PUSH, True), 200
    spent = time.process_time()
    for _ in range(count):
        push = ends.connect()
        push.send(b"")
        ends.listening.recv()
        push.close(0)
    spent = time.process_time() - spent
    ends.context.destroy(linger=0)
    return spent / count


if __name__ == "__main__":
    main()
