"""A simulated fleet, pushed over the real wire to a real broker."""

import threading
import time
from dataclasses import replace

import zmq

from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.config.keys import Config
from gpu_monitor.config.role_settings import RPC_INPROC, UPDATES_INPROC, broker_settings
from gpu_monitor.demo.host import SimulatedHost
from gpu_monitor.wire.codec import pack

NEVER_HEARD = "node-spare"
"""A host that is expected and never reports: the page shows it as missing."""

BATCH_SECONDS = 0.02
"""Hosts that are due within this are pushed together: a wait for each would cost more."""


def demo_settings(config: Config) -> BrokerSettings:
    """The broker of `config`, with simulated hosts in place of its own and no port or key."""
    return replace(
        broker_settings(config._replace(keys="")),
        rpc_endpoints=(RPC_INPROC,),
        updates_endpoints=(UPDATES_INPROC,),
        hosts=(NEVER_HEARD,),
        own_name="",
        warnings=(),
        simulated=True,
    )


def build_fleet(hosts: int, gpus: int, now: float) -> list[SimulatedHost]:
    """That many hosts with that many GPUs each, as they are at `now` (unix seconds)."""
    return [SimulatedHost(number, gpus, now) for number in range(hosts)]


def push_fleet(
    fleet: list[SimulatedHost],
    interval: float,
    stop: threading.Event,
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    """Pushes each host once per interval, spread evenly over it, until `stop` is set."""
    hosts = len(fleet)
    pusher = Pusher(RPC_INPROC, context, latest_only=False)
    started = time.monotonic()
    pushed = 0
    try:
        while not stop.wait(BATCH_SECONDS):
            due = int((time.monotonic() - started) / interval * hosts)
            if due - pushed > hosts:  # after a suspend: no rush to catch up
                pushed = due - hosts
            for number in range(pushed, due):
                _push(fleet[number % hosts], interval, pusher)
            pushed = due
    finally:
        pusher.close()


def _push(host: SimulatedHost, interval: float, pusher: Pusher) -> None:
    now = time.time()
    if host.is_silent(now):
        return
    boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
    host.step(now)
    pusher.push(pack(host.snapshot(now, boottime, interval)))
