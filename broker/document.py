"""The published document: what all patches so far add up to."""

from typing import Any, cast

from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.gpu_use import UseLimits
from gpu_monitor.broker.history import TotalsHistory
from gpu_monitor.broker.host_record import HostRecord
from gpu_monitor.broker.published_host import PublishedHost
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.broker.totals import Totals
from gpu_monitor.wire import __version__
from gpu_monitor.wire.document import VERSION
from gpu_monitor.wire.patch import compare

HEARTBEAT_SECONDS = 1.0


class Published:
    """The fleet's document, brought up to date once per tick.

    It is kept apart from the latest state, because slow values wait for their turn and because a
    new subscriber's picture must be the very document that the next patch applies to.
    """

    def __init__(self, settings: BrokerSettings, fleet: Fleet, now: float) -> None:
        self._fleet = fleet
        self._limits = UseLimits(
            settings.free_memory_mib, settings.held_idle_after, settings.never_idle
        )
        self._totals = Totals()
        self._history = TotalsHistory()
        self._hosts: dict[str, PublishedHost] = {}
        self._states: dict[str, int] = {}
        self._now = now
        self._rpc_timeout = settings.rpc_timeout
        self._beat_at = float("-inf")
        self._refused: dict[str, int] = {}
        self._load: dict[str, Any] = {}
        broker: dict[str, Any] = {
            "state": "live",
            "started_at": round(now, 3),
            "version": __version__,
            "refused": self._refused,
            "load": self._load,
        }
        if settings.warnings:
            broker["warnings"] = list(settings.warnings)
        self.document: dict[str, Any] = {
            "version": VERSION,
            "now": round(now, 3),
            "interval_seconds": settings.interval,
            "tick_seconds": settings.tick,
            "stale_after_seconds": settings.rpc_timeout,
            "simulated": settings.simulated,
            "broker": broker,
            "totals": {},
            "users": {},
            "hosts": {},
        }
        for record in fleet.records.values():
            self._advance_host(record, 0.0)
        self._advance_totals()

    def advance(
        self,
        received: float,
        now: float,
        refused: dict[str, int],
        load: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Brings the document up to date; the patch that does the same, empty if nothing is due.

        `received` is the broker's boot clock, `now` its wall clock, both in seconds; `refused`
        counts refused messages by reason; `load` is the broker's own, None while it is not due.
        At least once a second the patch holds `now`.
        """
        patch: dict[str, Any] = {}
        if hosts := self._advance_hosts(received):
            patch["hosts"] = hosts
        if totals := self._advance_totals():
            patch["totals"] = totals
        self._history.add(self.document["totals"], now)
        if users := self._advance_users():
            patch["users"] = users
        if broker := self._advance_broker(refused, load):
            patch["broker"] = broker
        # A tick may come slightly early: better one heartbeat too many than one a tick late.
        if patch or received >= self._beat_at + 0.9 * HEARTBEAT_SECONDS:
            self._beat_at = received
            self.document["now"] = patch["now"] = round(now, 3)
        return patch

    def recent(self, name: str, now: float) -> dict[str, Any] | None:
        """The last hour of a host's GPUs, or of the totals for ""; None for an unknown host.

        `now` in unix seconds.
        """
        if not name:
            return self._history.answer(now)
        record = self._fleet.records.get(name)
        if record is None or record.snapshot is None:
            return None
        return record.history.answer(now)

    def _advance_broker(
        self, refused: dict[str, int], load: dict[str, Any] | None
    ) -> dict[str, Any]:
        patch: dict[str, Any] = {}
        if refused != self._refused:
            patch["refused"] = compare(self._refused, refused)
            self._refused.update(refused)
        if load is not None and (changed := compare(self._load, load)):
            patch["load"] = changed
            self._load.update(load)
        return patch

    def _advance_hosts(self, received: float) -> dict[str, Any]:
        fleet = self._fleet
        patch: dict[str, Any] = {}
        changed, fleet.changed = fleet.changed, []
        for record in changed:
            record.changed = False
            if host := self._advance_host(record, received):
                patch[record.name] = host
        for name in fleet.forgotten:
            if name not in fleet.records:  # it may be back by now
                self._states[self._hosts.pop(name).state] -= 1
                del self.document["hosts"][name]
                patch[name] = None
        fleet.forgotten.clear()
        return patch

    def _advance_host(self, record: HostRecord, received: float) -> dict[str, Any]:
        name, state = record.name, record.state
        if state is None:  # not confirmed yet
            return {}
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = PublishedHost(name, self._rpc_timeout)
            self.document["hosts"][name] = host.document
        if host.state != state:
            if host.state:
                self._states[host.state] -= 1
            self._states[state] = self._states.get(state, 0) + 1
        return host.advance(record, state, received, self._limits, self._totals)

    def _advance_totals(self) -> dict[str, Any]:
        latest: dict[str, Any] = dict(self._totals.document(self._states))
        patch = compare(self.document["totals"], latest)
        self.document["totals"] = latest
        return patch

    def _advance_users(self) -> dict[str, Any]:
        users = cast(dict[str, dict[str, Any]], self.document["users"])
        patch: dict[str, Any] = {}
        for name in self._totals.changed_users:
            before, latest = users.get(name), self._totals.user(name)
            if latest is None:
                if users.pop(name, None) is not None:
                    patch[name] = None
            elif before is None:
                users[name] = patch[name] = latest
            elif changed := compare(before, latest):
                users[name], patch[name] = latest, changed
        self._totals.changed_users.clear()
        return patch
