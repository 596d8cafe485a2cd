"""Hear the collectors, tick, greet the subscribers."""

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
from gpu_monitor.broker.ingest import Hearing
from gpu_monitor.broker.intake import Intake
from gpu_monitor.broker.load_stats import Load
from gpu_monitor.broker.peer_identity import Directory
from gpu_monitor.broker.publisher import Publisher
from gpu_monitor.broker.resolver import OWN, REFRESH_SECONDS, RETRY_SECONDS, Resolver
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.curve.server import Gate

_LOOK_SECONDS = 0.25
"""How often silence is looked for, so that a stale mark comes within 0.5 s at any tick."""
_PAUSE_OF_TICK = 0.04
"""Nobody hears of a message before the tick, so it may lie for this share of one; from looking for
messages less often comes much of what the broker saves with thousands of hosts."""
_RESOLVE_FIRST_SECONDS = 2.0
_LOGGED_HOSTS = 5
_GC_THRESHOLDS = (500_000, 20, 100)
"""The state is millions of lists without a cycle, replaced every second: looking through them
for garbage at Python's usual pace doubles the cost of a message and finds none. What thousands
of hosts move from one tick to the next stays below the first threshold."""

log = logging.getLogger(__name__)

Recall: TypeAlias = Callable[[str, dict[str, Any] | None], dict[str, Any] | None]
"""A host's name ("" for the totals) and what is known of its last hour, to what is answered."""


async def run(
    settings: BrokerSettings,
    ready: Callable[[], None] | None = None,
    context: zmq.Context[zmq.Socket[bytes]] | None = None,
    recall: Recall | None = None,
) -> None:
    """Runs until it is cancelled. `ready` is called once the sockets are bound.

    Only the demo hands in a `recall`: its fleet has a past that no broker heard.

    Raises zmq.ZMQError when an endpoint cannot be bound, KeysError when the broker's own keys
    cannot be used. A `context` that is handed in is
    left open.
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
    """What belongs together in one run: the sockets, the state, the document."""

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
        self._gate = self._make_gate(context)
        self._fleet = Fleet(self._expected(), settings.rpc_timeout, settings.forget_after)
        self._resolver = Resolver(self._directory.names)
        self._published = Published(settings, self._fleet, time.time())
        self._hearing = Hearing(
            self._fleet,
            self._directory,
            lambda: self._resolver.refresh(boottime(), RETRY_SECONDS),
        )
        self._load = Load()
        try:
            self._intake = Intake(
                settings.rpc_endpoints,
                context,
                self._hearing,
                self._load,
                self._gate,
                pause=_PAUSE_OF_TICK * settings.tick,
            )
        except zmq.ZMQError:
            self._close_gate()
            raise
        try:
            self._publisher = Publisher(
                settings.updates_endpoints,
                context,
                uuid.uuid4().hex,
                lambda: self._published.document,
                self._recent,
                self._gate,
            )
        except zmq.ZMQError:
            self._close_gate()
            self._intake.close()
            raise

    def _make_gate(self, context: zmq.Context[zmq.Socket[bytes]]) -> Gate | None:
        settings = self._settings
        if not settings.keys:
            return None

        def refuse(*refusal: Any) -> None:
            self._hearing.refusals.add(*refusal)

        gate = Gate(settings.keys, context, settings.own_name, refuse)
        self._directory.ask_for_keys(gate.host)
        return gate

    def _expected(self) -> tuple[str, ...]:
        """Who is shown as missing until it is heard."""
        return (*self._settings.hosts, *(self._gate.hosts() if self._gate is not None else ()))

    def _look_at_keys(self) -> None:
        if self._gate is not None and self._gate.look(boottime()):
            self._directory.forget_peers()
            self._fleet.expect(self._expected())

    def _close_gate(self) -> None:
        if self._gate is not None:
            self._gate.close()

    async def run(self, ready: Callable[[], None] | None) -> None:
        try:
            if self._gate is not None:
                self._gate.start(self._loop)
            self._publisher.start(self._loop)
            if ready is not None:
                ready()
            await self._resolve_first()
            self._intake.start(self._loop)
            await self._tick()
        finally:
            self._close_gate()
            self._intake.close()
            self._publisher.close()

    async def _resolve_first(self) -> None:
        """The first names, before anyone is refused for want of them; not for long, though."""
        self._resolver.refresh(boottime(), 0.0)
        deadline = boottime() + _RESOLVE_FIRST_SECONDS
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
        """Publishes once per tick; out of turn when a host has fallen silent."""
        tick = self._settings.tick
        pause = min(tick, _LOOK_SECONDS)
        next_tick = next_beat = time.monotonic()
        while True:
            self._look_at_keys()
            turned = self._fleet.look(boottime())
            now = time.monotonic()
            if turned or now >= next_tick or now >= next_beat:
                self._load.ticked(now - next_tick)
                self._publish()
                next_beat = now + HEARTBEAT_SECONDS
                if now >= next_tick:
                    next_tick += tick
                    if next_tick <= now:  # fallen behind: what was missed is not made up for
                        next_tick = now + tick
            self._learn_addresses()
            self._resolver.refresh(boottime(), REFRESH_SECONDS)
            until = min(next_tick, next_beat, now + pause)
            await asyncio.sleep(max(0.0, until - time.monotonic()))

    def _recent(self, name: str) -> dict[str, Any] | None:
        heard = self._published.recent(name, time.time())
        return heard if self._recall is None else self._recall(name, heard)

    def _publish(self) -> None:
        received, refused = boottime(), self._hearing.refusals.counts
        load = self._load.tell(received)
        patch = self._published.advance(received, time.time(), refused, load)
        if patch:
            self._publisher.publish(patch)
        self._log_changes()

    def _log_changes(self) -> None:
        """One line for each state that hosts have come into, however many came at once."""
        changes, self._fleet.changes = self._fleet.changes, []
        hosts: dict[str, list[str]] = {}
        for name, state in changes:
            hosts.setdefault(state, []).append(name)
        for state, names in hosts.items():
            more = len(names) - _LOGGED_HOSTS
            shown = ", ".join(names[:_LOGGED_HOSTS]) + (f" and {more} more" if more > 0 else "")
            log.log(logging.INFO if state == LIVE else logging.WARNING, "%s: %s", state, shown)
