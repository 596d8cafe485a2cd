"""A simulated fleet, pushed over the real wire to a real broker."""

import threading
import time

import zmq

from broker.settings import BrokerSettings
from collector.pusher import Pusher
from gpu_monitor.keys import Config
from gpu_monitor.settings import RPC_INPROC, UPDATES_INPROC, page_warnings
from gpu_monitor.simulated import SimulatedHost
from wire.codec import pack

NEVER_HEARD = "node-spare"
"""A host that is expected and never reports: the page shows it as missing."""


def demo_settings(config: Config) -> BrokerSettings:
    """A broker that says "simulated" and listens inside the process only."""
    return BrokerSettings(
        rpc_endpoints=(RPC_INPROC,),
        updates_endpoints=(UPDATES_INPROC,),
        hosts=(NEVER_HEARD,),
        interval=config.interval,
        rpc_timeout=config.rpc_timeout,
        tick=config.tick,
        free_memory_mib=config.free_memory_mib,
        held_idle_after=config.held_idle_after,
        forget_after=config.forget_after,
        simulated=True,
        warnings=tuple(page_warnings(config)),
    )


def push_fleet(
    interval: float,
    hosts: int,
    gpus: int,
    stop: threading.Event,
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    """Pushes each host once per interval, one after the other, until `stop` is set."""
    fleet = [SimulatedHost(number, gpus, time.time()) for number in range(hosts)]
    pusher = Pusher(RPC_INPROC, context, latest_only=False)
    due = time.monotonic()
    try:
        while True:
            for host in fleet:
                due += interval / hosts
                if stop.wait(max(0.0, due - time.monotonic())):
                    return
                _push(host, interval, pusher)
            due = max(due, time.monotonic() - interval)  # after a suspend: no rush to catch up
    finally:
        pusher.close()


def _push(host: SimulatedHost, interval: float, pusher: Pusher) -> None:
    now = time.time()
    if host.is_silent(now):
        return
    boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
    host.step(now)
    pusher.push(pack(host.snapshot(now, boottime, interval)))
