"""Asks the system, the network and a broker one thing each; no answer is an error."""

import asyncio
import http.client
import os
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import zmq

from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.config.role_settings import is_loopback
from gpu_monitor.web.auth import allowed_hosts
from gpu_monitor.wire.broker_link import Subscriber
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.replica import Following

PATIENCE_SECONDS = 2.0
"""How long a name server, a broker or a web server may take to answer."""


def resolve(names: Iterable[str]) -> dict[str, list[str]]:
    """All addresses of each name; none where the name server knows none, or is too slow."""
    names = list(names)
    found: dict[str, list[str]] = {name: [] for name in names}
    left = iter(names)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                name = next(left, None)
            if name is None:
                return
            found[name] = _addresses(name)

    # Daemons: the resolver of the C library may take much longer, and cannot be interrupted.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(64, len(names)))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE_SECONDS + len(names) / 100
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)


def full_name() -> str:
    """This machine's name with its domain; without it where the name server is too slow."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(allowed_hosts.full_name()), daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return found[0] if found else os.uname().nodename


def _addresses(name: str) -> list[str]:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: no name that DNS could hold
        return []
    return sorted({str(answer[4][0]) for answer in answers})


def knock(endpoint: str, lock: Lock) -> str | None:
    """Whether the broker takes a collector from here: empty when it does, else why not, in words;
    None when it does not say. Nothing is sent."""
    pusher = Pusher(endpoint, lock=lock)
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while time.monotonic() < deadline:
            if pusher.is_connected(50):
                return ""
            if pusher.why():
                return pusher.why()
    finally:
        pusher.close()
    return None


def hear_broker(endpoint: str, lock: Lock) -> dict[str, Any] | None:
    """The broker's picture, as a web server gets it; None when none comes in time.

    The lock says why, where the broker has refused the connection.
    """
    return asyncio.run(_hear_broker(endpoint, lock))


async def _hear_broker(endpoint: str, lock: Lock) -> dict[str, Any] | None:
    following = Following({}, 10 * PATIENCE_SECONDS, time.monotonic())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = Subscriber(endpoint, context, following, lambda patch: None, time.monotonic, lock)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not following.ever_heard and not lock.why() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            subscriber.look()
    finally:
        subscriber.close()
        context.term()
    return following.document if following.ever_heard else None


def is_own(addresses: Iterable[str]) -> bool:
    """Whether one of `addresses` is this machine's."""
    own = {
        entry.address.partition("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
    }
    return any(is_loopback(address) or address in own for address in addresses)


def why_taken(address: str, port: int) -> str:
    """Why this port cannot be bound, in the system's words; empty when it can."""
    host = "" if address == "*" else address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            # As a server would: what lingers of a connection that has ended does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def is_our_page(address: str, port: int) -> bool:
    """Whether a web server of GPU Monitor answers there."""
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().getheader("Server") == "gpu-monitor"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def accepts(addresses: Iterable[str], port: int) -> bool:
    """Whether one of `addresses` takes a TCP connection at `port`."""
    for address in addresses:
        try:
            socket.create_connection((address, port), PATIENCE_SECONDS).close()
        except OSError:
            continue
        return True
    return False


def has_nvidia_hardware(devices: Path) -> bool:
    """Whether `devices`, sysfs' folder of PCI devices, holds a display controller of NVIDIA."""
    for device in devices.glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == "0x10de" and kind.startswith("0x03"):
            return True
    return False
