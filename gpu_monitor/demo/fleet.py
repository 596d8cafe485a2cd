"""A simulated fleet, pushed through the real protocol to a real broker."""

import threading
import time
from dataclasses import replace

import zmq

from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.config.keys import Config
from gpu_monitor.config.role_settings import RPC_INPROC, UPDATES_INPROC, broker_settings
from gpu_monitor.demo.host import SimulatedHost
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.codec import pack

MISSING_HOST = "node-spare"
"""A host that is expected but never reports."""

BATCH_SECONDS = 0.02
"""Hosts due within this time are pushed together; waiting for each would cost more."""


def demo_settings(config: Config) -> BrokerSettings:
    """The broker settings of `config`, but with simulated hosts, and without ports and keys."""
    return replace(
        broker_settings(config._replace(keys="")),
        rpc_endpoints=(RPC_INPROC,),
        updates_endpoints=(UPDATES_INPROC,),
        hosts=(MISSING_HOST,),
        own_name="",
        warnings=(),
        simulated=True,
    )


def build_fleet(hosts: int, gpus: int, now: float) -> list[SimulatedHost]:
    """Simulated hosts with `gpus` GPUs each, as of `now` (unix seconds)."""
    return [SimulatedHost(number, gpus, now) for number in range(hosts)]


def push_fleet(
    fleet: list[SimulatedHost],
    interval: float,
    stop: threading.Event,
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    """Push each host once per interval, evenly spread, until `stop` is set."""
    hosts = len(fleet)
    pusher = Pusher(RPC_INPROC, context, latest_only=False)
    started = time.monotonic()
    pushed = 0
    try:
        while not stop.wait(BATCH_SECONDS):
            due = int((time.monotonic() - started) / interval * hosts)
            if due - pushed > hosts:  # after a suspend: skip what was missed
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
    host.step(now)
    pusher.push(pack(host.snapshot(now, boottime(), interval)))
