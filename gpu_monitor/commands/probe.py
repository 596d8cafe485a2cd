"""Single questions to the system, the network and a broker; none of them raises."""

import asyncio
import http.client
import os
import socket
import time
from collections.abc import Iterable
from concurrent.futures import wait
from typing import Any

import psutil
import zmq

from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.config.role_settings import is_loopback
from gpu_monitor.web.auth import allowed_hosts
from gpu_monitor.wire.broker_link import Subscriber
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.replica import Replica
from gpu_monitor.wire.slow_lookup import answer_within, slow_lookup, slow_lookups

PROBE_SECONDS = 2.0
"""How long a name service, a broker, a web server or NVML may take to answer."""
PROBE_THREADS = 64


def resolve(names: Iterable[str], patience_seconds: float) -> dict[str, list[str]]:
    """All addresses of each name; none if the name service knows none or is too slow."""
    lookups = slow_lookups(_addresses, names, PROBE_THREADS, thread_name="host names")
    wait(lookups.values(), patience_seconds + len(lookups) / 100)
    return {name: answer_within(lookup, 0.0, []) for name, lookup in lookups.items()}


def full_name(patience_seconds: float) -> str:
    """This machine's name with its domain; without it if the name service is too slow."""
    lookup = slow_lookup(allowed_hosts.full_name, thread_name="own name")
    return answer_within(lookup, patience_seconds, os.uname().nodename)


def _addresses(name: str) -> list[str]:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: DNS allows no such name
        return []
    return sorted({str(answer[4][0]) for answer in answers})


def push_refusal(endpoint: str, lock: Lock, patience_seconds: float) -> str | None:
    """Why the broker refuses a collector from here: "" if it does not, None if it gives no reason.

    Connects, and sends nothing.
    """
    pusher = Pusher(endpoint, lock=lock)
    deadline = time.monotonic() + patience_seconds
    try:
        while time.monotonic() < deadline:
            if pusher.is_connected(50):
                return ""
            if pusher.why():
                return pusher.why()
    finally:
        pusher.close()
    return None


def receive_document(endpoint: str, lock: Lock, patience_seconds: float) -> dict[str, Any] | None:
    """The broker's document, received as a web server does; None if it does not come in time.

    `lock` then knows why, if the broker has refused the connection.
    """
    return asyncio.run(_receive_document(endpoint, lock, patience_seconds))


async def _receive_document(
    endpoint: str, lock: Lock, patience_seconds: float
) -> dict[str, Any] | None:
    replica = Replica({}, 10 * patience_seconds, time.monotonic())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = Subscriber(endpoint, context, replica, lambda patch: None, time.monotonic, lock)
    try:
        deadline = time.monotonic() + patience_seconds
        while not replica.ever_synced and not lock.why() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            subscriber.poll()
    finally:
        subscriber.close()
        context.term()
    return replica.document if replica.ever_synced else None


def is_own(addresses: Iterable[str]) -> bool:
    """Whether one of `addresses` belongs to this machine."""
    own = {
        entry.address.partition("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
    }
    return any(is_loopback(address) or address in own for address in addresses)


def why_not_bindable(address: str, port: int) -> str:
    """The system's reason why this port cannot be bound; empty if it can."""
    host = "" if address == "*" else address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            # As a server does: ignore connections in TIME_WAIT.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def is_our_page(address: str, port: int, patience_seconds: float) -> bool:
    """Whether a web server of GPU Monitor answers there."""
    connection = http.client.HTTPConnection(address, port, timeout=patience_seconds)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().getheader("Server") == "gpu-monitor"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def accepts(addresses: Iterable[str], port: int, patience_seconds: float) -> bool:
    """Whether one of `addresses` accepts a TCP connection on `port`."""
    for address in addresses:
        try:
            socket.create_connection((address, port), patience_seconds).close()
        except OSError:
            continue
        return True
    return False
