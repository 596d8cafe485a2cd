"""The collector's loop: sample, pack, push, wait."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gpu_monitor.collector import activity_file
from gpu_monitor.collector.activity import IdleTimes
from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.watchdog import Watchdog
from gpu_monitor.collector.host import processes, system
from gpu_monitor.collector.host.containers import Containers
from gpu_monitor.collector.host.own_cost import Cost
from gpu_monitor.collector.host.users import Users
from gpu_monitor.collector.limits import packed
from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.collector.settings import CollectorSettings
from gpu_monitor.collector.snapshot import Origin, Sampler, Sources
from gpu_monitor.wire.curve.client import Lock

if TYPE_CHECKING:
    import zmq

log = logging.getLogger(__name__)

PATIENCE = 0.25
"""Share of the interval that a sample waits for the driver."""


def run(
    settings: CollectorSettings,
    stop: threading.Event,
    context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Push a snapshot every interval until `stop` is set; returns within a second of that.

    No driver, a hung driver and no broker are states of the snapshot or of the log, none ends
    the loop. `context` is shared where collector and broker live in one process (inproc).
    `alive` is called once per round, after the push.
    gpu_monitor.wire.curve.keys.KeysError when the keys cannot be used.
    """
    boot_id = system.boot_id()
    idle = IdleTimes(activity_file.load(settings.state_folder, boot_id))
    keeper = activity_file.Keeper(settings.state_folder, boot_id)
    watchdog = Watchdog(Driver(), PATIENCE * settings.interval, settings.rpc_timeout)
    sampler = _sampler(settings, boot_id, watchdog, idle)
    outside = settings.endpoint.startswith("tcp:")
    lock = Lock(settings.keys, f"gpu-monitor keys add {settings.name}") if outside else None
    pusher = Pusher(settings.endpoint, context, lock=lock)
    said: Sequence[str] = ()
    next_at = time.monotonic()
    try:
        while not stop.is_set():
            snapshot = sampler.sample()
            pusher.push(packed(snapshot))
            alive()
            said = _say_changes(said, snapshot["problems"])
            if keeper.due(now := snapshot["sampled_boottime"]):
                idle.forget(now)
                keeper.write(idle.known(), now)
            next_at = next_on_grid(next_at, time.monotonic(), settings.interval)
            stop.wait(next_at - time.monotonic())
    finally:
        keeper.write(idle.known(), moment().boottime)
        pusher.close()
        watchdog.close()


def next_on_grid(last: float, now: float, interval: float) -> float:
    """The next moment of the grid `last` is on: samples that were missed are not made up for."""
    return last + interval * max(1, int((now - last) / interval) + 1)


def _sampler(
    settings: CollectorSettings, boot_id: str, watchdog: Watchdog, idle: IdleTimes
) -> Sampler:
    origin = Origin(settings.name, boot_id, os.urandom(16).hex(), settings.interval)
    facts = processes.Processes(
        settings.commands,
        Users(),
        settle=settings.rpc_timeout,
        containers=Containers(settings.container_socket),
    ).facts
    standing: tuple[str, ...] = ()
    if not processes.sees_host_pids():
        facts, standing = processes.no_facts, (processes.OTHER_NAMESPACE,)
    host = system.System(settings.name)
    sources = Sources(moment, watchdog.collect, facts, host.read, Cost().read)
    return Sampler(origin, sources, idle, standing)


def _say_changes(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """Log the problems that came and those that went; returns `now`."""
    for problem in now:
        if problem not in before:
            log.warning("%s", problem)
    for problem in before:
        if problem not in now:
            log.info("no longer: %s", problem)
    return now
