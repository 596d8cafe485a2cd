"""The broker: receives snapshots, ticks, and answers subscribers."""

import asyncio
import gc
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

import zmq

from gpu_monitor.broker.document import HEARTBEAT_SECONDS, Published
from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.host_record import LIVE
from gpu_monitor.broker.ingest import Ingest
from gpu_monitor.broker.intake import Intake
from gpu_monitor.broker.load_stats import Load
from gpu_monitor.broker.peer_identity import Directory
from gpu_monitor.broker.publisher import Publisher
from gpu_monitor.broker.resolver import OWN, RESOLVE_RETRY_SECONDS, RESOLVE_SECONDS, Resolver
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.curve.server import CurveServer

STALE_CHECK_SECONDS = 0.25
"""How often hosts are checked for silence: a host is marked stale within 0.5 s at any tick."""
PAUSE_PER_TICK = 0.04
"""Nothing is published before the tick, so a message may wait for this share of one: reading less
often saves much of the broker's time with thousands of hosts."""
FIRST_RESOLVE_SECONDS = 2.0
_LOGGED_HOSTS = 5
_GC_THRESHOLDS = (500_000, 20, 100)
"""The state is millions of lists without a cycle, replaced every second: collecting garbage at
Python's usual pace doubles the cost of a message and finds none. The changes of thousands of hosts
between two ticks stay below the first threshold."""

log = logging.getLogger(__name__)

Recall: TypeAlias = Callable[[str, dict[str, Any] | None], dict[str, Any] | None]
"""Takes a host's name ("" for the totals) and its last hour as known; returns the answer."""


async def run(
    settings: BrokerSettings,
    ready: Callable[[], None] | None = None,
    context: zmq.Context[zmq.Socket[bytes]] | None = None,
    recall: Recall | None = None,
) -> None:
    """Runs until it is cancelled. `ready` is called once the sockets are bound.

    `recall` is for the demo, whose fleet has a past that no broker has seen. A `context` that is
    passed in is left open. Raises zmq.ZMQError if an endpoint cannot be bound, KeysError if the
    broker's own keys cannot be used.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(*_GC_THRESHOLDS)
    used = zmq.Context[zmq.Socket[bytes]]() if context is None else context
    try:
        await _Broker(settings, used, recall).run(ready)
    finally:
        gc.set_threshold(*thresholds)
        if context is None:
            used.term()


class _Broker:
    """One run of the broker: its sockets, its state and its document."""

    def __init__(
        self,
        settings: BrokerSettings,
        context: zmq.Context[zmq.Socket[bytes]],
        recall: Recall | None,
    ) -> None:
        self._settings = settings
        self._recall = recall
        self._loop = asyncio.get_running_loop()
        self._directory = Directory(settings.hosts, settings.own_name)
        self._auth = self._make_auth(context)
        self._fleet = Fleet(self._expected(), settings.rpc_timeout, settings.forget_after)
        self._resolver = Resolver(self._directory.names)
        self._published = Published(settings, self._fleet, time.time())
        self._ingest = Ingest(
            self._fleet,
            self._directory,
            lambda: self._resolver.refresh(boottime(), RESOLVE_RETRY_SECONDS),
        )
        self._load = Load()
        try:
            self._intake = Intake(
                settings.rpc_endpoints,
                context,
                self._ingest,
                self._load,
                self._auth,
                pause=PAUSE_PER_TICK * settings.tick,
            )
        except zmq.ZMQError:
            self._close_auth()
            raise
        try:
            self._publisher = Publisher(
                settings.updates_endpoints,
                context,
                uuid.uuid4().hex,
                lambda: self._published.document,
                self._recent,
                self._refuse,
                self._auth,
            )
        except zmq.ZMQError:
            self._close_auth()
            self._intake.close()
            raise

    def _make_auth(self, context: zmq.Context[zmq.Socket[bytes]]) -> CurveServer | None:
        settings = self._settings
        if not settings.keys:
            return None
        auth = CurveServer(
            settings.keys, context, settings.own_name, self._refuse, settings.keys_poll_seconds
        )
        self._directory.use_keys(auth.host)
        return auth

    def _refuse(self, reason: str, peer: str, detail: str, now: float) -> None:
        self._ingest.refusals.add(reason, peer, detail, now)

    def _expected(self) -> tuple[str, ...]:
        """The hosts that are missing until they report."""
        return (*self._settings.hosts, *(self._auth.hosts() if self._auth is not None else ()))

    def _poll_keys(self) -> None:
        if self._auth is not None and self._auth.poll(boottime()):
            self._directory.forget_peers()
            self._fleet.expect(self._expected())

    def _close_auth(self) -> None:
        if self._auth is not None:
            self._auth.close()

    async def run(self, ready: Callable[[], None] | None) -> None:
        try:
            if self._auth is not None:
                self._auth.start(self._loop)
            self._publisher.start(self._loop)
            if ready is not None:
                ready()
            await self._resolve_first()
            self._intake.start(self._loop)
            await self._tick()
        finally:
            self._close_auth()
            self._intake.close()
            self._publisher.close()

    async def _resolve_first(self) -> None:
        """Waits a little for the first addresses, so that no host is refused for lack of them."""
        self._resolver.refresh(boottime(), 0.0)
        deadline = boottime() + FIRST_RESOLVE_SECONDS
        while self._resolver.is_busy and boottime() < deadline:
            await asyncio.sleep(0.01)
            self._learn_addresses()

    def _learn_addresses(self) -> None:
        for name, addresses in self._resolver.drain():
            if name == OWN:
                self._directory.learn_own(addresses)
            else:
                self._directory.learn(name, addresses)

    async def _tick(self) -> None:
        """Publishes once per tick, and out of turn when a host falls silent."""
        tick = self._settings.tick
        pause = min(tick, STALE_CHECK_SECONDS)
        next_tick = next_beat = time.monotonic()
        while True:
            self._poll_keys()
            turned = self._fleet.mark_stale(boottime())
            now = time.monotonic()
            if turned or now >= next_tick or now >= next_beat:
                self._load.count_tick(now - next_tick)
                self._publish()
                next_beat = now + HEARTBEAT_SECONDS
                if now >= next_tick:
                    next_tick += tick
                    if next_tick <= now:  # late by a whole tick or more: skip the missed ones
                        next_tick = now + tick
            self._learn_addresses()
            self._resolver.refresh(boottime(), RESOLVE_SECONDS)
            until = min(next_tick, next_beat, now + pause)
            await asyncio.sleep(max(0.0, until - time.monotonic()))

    def _recent(self, name: str) -> dict[str, Any] | None:
        recent = self._published.recent(name, time.time())
        return recent if self._recall is None else self._recall(name, recent)

    def _publish(self) -> None:
        received, refused = boottime(), self._ingest.refusals.counts
        load = self._load.report(received)
        patch = self._published.advance(received, time.time(), refused, load)
        if patch:
            self._publisher.publish(patch)
        self._log_changes()

    def _log_changes(self) -> None:
        """Logs one line per new state, however many hosts came into it at once."""
        changes, self._fleet.changes = self._fleet.changes, []
        hosts: dict[str, list[str]] = {}
        for name, state in changes:
            hosts.setdefault(state, []).append(name)
        for state, names in hosts.items():
            more = len(names) - _LOGGED_HOSTS
            shown = ", ".join(names[:_LOGGED_HOSTS]) + (f" and {more} more" if more > 0 else "")
            log.log(logging.INFO if state == LIVE else logging.WARNING, "%s: %s", state, shown)
