"""What a frame costs the web server for each of 2,000 viewers, compared with bare socket writes.

    python bench/fanout.py [--viewers 2000] [--frames 40]

Three processes: this one acts as the broker over real sockets, one is the web server, and one holds
the viewers (raw sockets that count frames). The floor is a process that only calls
`transport.write` to send the same bytes to as many sockets. CPU is the user and system time of the
server's process; on loopback the kernel charges a delivery to its sender, so both sides of the
ratio include the same kernel work. Prints measurements, asserts nothing.
"""

import argparse
import asyncio
import base64
import os
import selectors
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

from gpu_monitor.wire.codec import pack  # noqa: E402 - the repository need not be installed

SIZES = (4_000, 20_000)
PAUSE_SECONDS = 0.25
REQUEST = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    "Sec-WebSocket-Protocol: gpu-monitor.v1.json\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--part", choices=("serve", "floor", "view"), help=argparse.SUPPRESS)
    parser.add_argument("--at", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "serve":
        asyncio.run(serve(options.at))
    elif options.part == "floor":
        asyncio.run(floor(options.frames))
    elif options.part == "view":
        view(options.at, options.viewers)
    else:
        compare(options.viewers, options.frames)


def compare(viewers: int, frames: int) -> None:
    """Run both, then print the table."""
    server = measure_server(viewers, frames)
    bare = measure_floor(viewers, frames)
    print(f"{viewers} viewers, {frames} frames each, one frame every {PAUSE_SECONDS} s")
    print(f"{'frame':>8} {'server us':>10} {'floor us':>9} {'ratio':>6}   per viewer and frame")
    for size in SIZES:
        ratio = server[size] / bare[size]
        print(f"{size:>8} {server[size]:>10.1f} {bare[size]:>9.1f} {ratio:>6.2f}")
    print(f"resident memory per viewer: {server['kib']:.1f} KiB (floor {bare['kib']:.1f} KiB)")


def measure_server(viewers: int, frames: int) -> dict[Any, float]:
    """CPU microseconds per viewer and frame by size; `kib` of resident memory per viewer."""
    context = zmq.Context()
    broker = context.socket(zmq.ROUTER)
    port = broker.bind_to_random_port("tcp://127.0.0.1")
    child = start("serve", f"tcp://127.0.0.1:{port}")
    address = read_line(child)
    fleet = {"version": 1, "now": 0.0, "broker": {"state": "live"}, "users": {}, "totals": {}}
    picture = {"run_id": "bench", "sequence": 0, "fleet": {**fleet, "hosts": {}}}
    while not (request := broker.recv_multipart())[1].startswith(b"picture/"):
        pass
    subscriber = request[0]
    broker.send_multipart([*request, pack(picture)])
    sequence = 0

    def send(size: int) -> None:
        nonlocal sequence
        sequence += 1
        patch = {"now": float(sequence), "words": os.urandom((size - 80) // 2).hex()}
        update = {"run_id": "bench", "sequence": sequence, "patch": patch}
        broker.send_multipart([subscriber, b"patch", pack(update)])

    try:
        return measure(child, address, viewers, frames, send)
    finally:
        stop(child)
        broker.close(linger=0)
        context.term()


def measure_floor(viewers: int, frames: int) -> dict[Any, float]:
    """The same for a process that only writes."""
    child = start("floor", "", frames)
    address = read_line(child)

    def send(size: int) -> None:
        child.stdin.write(f"{size}\n")
        child.stdin.flush()

    try:
        return measure(child, address, viewers, frames, send)
    finally:
        stop(child)


def measure(child: Any, address: str, viewers: int, frames: int, send: Any) -> dict[Any, float]:
    """Connect the viewers, then time the child over `frames` of each size."""
    process = psutil.Process(child.pid)
    time.sleep(1)
    before = process.memory_info().rss
    crowd = start("view", address, viewers=viewers)
    result: dict[Any, float] = {}
    try:
        if read_line(crowd) != "ready":
            raise SystemExit("the viewers could not connect")
        for size in SIZES:
            send(size)
        time.sleep(2)
        result["kib"] = (process.memory_info().rss - before) / 1024 / viewers
        for size in SIZES:
            spent = cpu(process)
            for _ in range(frames):
                send(size)
                time.sleep(PAUSE_SECONDS)
            time.sleep(0.5)
            result[size] = (cpu(process) - spent) / frames / viewers * 1e6
        crowd.stdin.write("how many\n")
        crowd.stdin.flush()
        fewest = int(read_line(crowd))
        expected = frames * len(SIZES)
        if fewest < expected:
            print(f"a viewer was sent {fewest} of {expected} frames: the result is not valid")
    finally:
        stop(crowd)
    return result


async def serve(endpoint: str) -> None:
    from gpu_monitor.web.main import run
    from gpu_monitor.web.settings import WebSettings

    def ready(url: str) -> None:
        print(url.removeprefix("http://").rstrip("/"), flush=True)

    # This broker is silent between frames; the server must not consider it lost.
    await run(WebSettings(updates_endpoint=endpoint, web_port=0, rpc_timeout=600.0), ready)


async def floor(frames: int) -> None:
    """Write `size` bytes to every connection for each line of standard input."""
    transports: list[asyncio.WriteTransport] = []

    class Writer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            transports.append(transport)
            transport.write(b"\x81\x00")

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Writer, "127.0.0.1", 0, backlog=1024)
    print(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        size = int(line)
        frame = b"\x81\x7e" + size.to_bytes(2, "big") + b"x" * size
        for transport in transports:
            transport.write(frame)


def view(address: str, count: int) -> None:
    """Open `count` sockets, print "ready" once each has its first frame, then count the others."""
    host, port = address.rsplit(":", 1)
    waiting = count
    selector = selectors.DefaultSelector()
    viewers = []
    for _ in range(count):
        viewer = RawViewer(socket.create_connection((host, int(port))))
        selector.register(viewer.socket, selectors.EVENT_READ, viewer)
        viewers.append(viewer)
    while waiting:
        for key, _events in selector.select():
            first = key.data.frames == 0
            key.data.read()
            waiting -= first and key.data.frames > 0
    print("ready", flush=True)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _events in selector.select():
            if key.data is not None:
                if not key.data.read():
                    selector.unregister(key.fileobj)
            elif sys.stdin.readline():
                # The first frame and one warm-up frame of each size do not count.
                print(min(v.frames for v in viewers) - 1 - len(SIZES), flush=True)
            else:
                return


class RawViewer:
    """Reads the headers of frames after the handshake and skips their payload."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.frames = 0
        self._skip = 0
        self._rest = b""
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(REQUEST.format(key=key).encode())
        self._shaking = True

    def read(self) -> bool:
        data = self.socket.recv(1 << 17)
        if not data:
            return False
        if self._shaking:
            # The floor sends no handshake: its first byte belongs to a frame.
            if data.startswith(b"HTTP"):
                data = data.partition(b"\r\n\r\n")[2]
            self._shaking = False
        if len(data) < self._skip:
            self._skip -= len(data)
            return True
        data, self._skip = self._rest + data[self._skip :], 0
        while len(data) >= 2:
            size, start = data[1], 2
            if size == 126:
                if len(data) < 4:
                    break
                size, start = int.from_bytes(data[2:4], "big"), 4
            self.frames += 1
            end = start + size
            if end > len(data):
                self._skip, data = end - len(data), b""
            else:
                data = data[end:]
        self._rest = data
        return True


def start(part: str, at: str, frames: int = 0, viewers: int = 0) -> Any:
    command = [sys.executable, __file__, "--part", part, "--at", at]
    command += ["--frames", str(frames), "--viewers", str(viewers)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)


def stop(child: Any) -> None:
    child.terminate()
    child.wait()
    child.stdin.close()
    child.stdout.close()


def read_line(child: Any) -> str:
    return str(child.stdout.readline()).strip()


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
