"""The collector's loop: sample, pack, push, wait."""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gpu_monitor.collector.activity import IdleTimes, idle_gap
from gpu_monitor.collector.activity_file import ActivityFile, load_idle
from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.columns import packed
from gpu_monitor.collector.finding_log import FindingLog
from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.processes import OTHER_LISTS_SECONDS
from gpu_monitor.collector.gpu.watchdog import Watchdog
from gpu_monitor.collector.host.containers import ContainerNames
from gpu_monitor.collector.host.own_cost import OwnCost
from gpu_monitor.collector.host.pidfds import allow_many_files
from gpu_monitor.collector.host.processes import ProcessTable, no_facts, sees_host_pids
from gpu_monitor.collector.host.system import HostSystem, boot_id
from gpu_monitor.collector.host.users import UserNames
from gpu_monitor.collector.host_findings import FOREIGN_PIDS
from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.collector.settings import CollectorSettings
from gpu_monitor.collector.snapshot import Origin, SnapshotBuilder, Sources
from gpu_monitor.collector.source_guard import SourceGuard
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.document import Snapshot

if TYPE_CHECKING:
    import zmq

log = logging.getLogger(__name__)

DRIVER_PATIENCE = 0.25
"""Share of the interval that a sample waits for the driver."""


def run(
    settings: CollectorSettings,
    stop: threading.Event,
    context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Push a snapshot every interval until `stop` is set; returns within a second of that.

    A missing driver, one that hangs, a missing broker and a source that raises anything are shown
    or logged; none of them ends the loop. `context` is shared where collector and broker run in one
    process (inproc). `alive` is called once per round, after the push.
    gpu_monitor.wire.curve.keys.KeysError when the keys cannot be used.
    """
    allow_many_files()
    boot = boot_id()
    idle = IdleTimes(load_idle(settings.state_folder, boot), idle_gap(settings.interval))
    activity_file = ActivityFile(settings.state_folder, boot)
    guard = SourceGuard()
    patience = DRIVER_PATIENCE * settings.interval
    watchdog = Watchdog(Driver(), patience, settings.rpc_timeout, guard=guard)
    builder = _snapshot_builder(settings, boot, watchdog, idle, guard)
    outside = settings.endpoint.startswith("tcp:")
    lock = Lock(settings.keys, f"gpu-monitor keys add {settings.name}") if outside else None
    pusher = Pusher(settings.endpoint, context, lock=lock)
    findings = FindingLog()
    next_at = time.monotonic()
    try:
        while not stop.is_set():
            built = guard.attempt("snapshot", lambda: _built(builder), None)
            if built is not None:
                snapshot, data = built
                pusher.push(data)
                findings.log_changes(snapshot)
            alive()
            if activity_file.is_due(now := moment().boottime):
                idle.forget(now)
                activity_file.save(idle.known(), now)
            next_at = next_on_grid(next_at, time.monotonic(), settings.interval)
            stop.wait(next_at - time.monotonic())
    finally:
        activity_file.save(idle.known(), moment().boottime)
        pusher.close()
        watchdog.close()


def next_on_grid(last: float, now: float, interval: float) -> float:
    """The next moment of the grid that `last` is on; missed samples are skipped."""
    return last + interval * max(1, int((now - last) / interval) + 1)


def _snapshot_builder(
    settings: CollectorSettings,
    boot: str,
    watchdog: Watchdog,
    idle: IdleTimes,
    guard: SourceGuard,
) -> SnapshotBuilder:
    origin = Origin(settings.name, boot, os.urandom(16).hex(), settings.interval)
    table = ProcessTable(
        settings.commands,
        UserNames(guard=guard),
        settle=settings.rpc_timeout + OTHER_LISTS_SECONDS,
        containers=ContainerNames(settings.container_socket, guard=guard),
        guard=guard,
    )
    facts = table.facts
    lasting: tuple[Finding, ...] = ()
    if not sees_host_pids():
        facts, lasting = no_facts, (FOREIGN_PIDS,)
    host, cost = HostSystem(settings.name, guard), OwnCost()
    sources = Sources(moment, watchdog.collect, facts, host.sample, cost.sample)
    return SnapshotBuilder(origin, sources, idle, lasting, guard)


def _built(builder: SnapshotBuilder) -> tuple[Snapshot, bytes]:
    snapshot = builder.build()
    return snapshot, packed(snapshot)
