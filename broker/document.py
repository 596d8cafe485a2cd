"""The published document: what all patches so far add up to."""

from typing import Any, cast

from gpu_monitor.broker.delta import add_own, advance, bookkeeping, follow
from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.gpu_use import UseLimits
from gpu_monitor.broker.history import TotalsHistory
from gpu_monitor.broker.host_record import LIVE, Record
from gpu_monitor.broker.published_host import Shown
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.broker.totals import Totals
from gpu_monitor.wire import __version__
from gpu_monitor.wire.document import VERSION, Snapshot
from gpu_monitor.wire.patch import compare

HEARTBEAT_SECONDS = 1.0


class Published:
    """The fleet's document, brought up to date once per tick.

    It is apart from the latest state on purpose: slow values wait for their turn, and a
    newcomer's picture must be the document that the next patch is made for.
    """

    def __init__(self, settings: BrokerSettings, fleet: Fleet, now: float) -> None:
        self._fleet = fleet
        self._limits = UseLimits(
            settings.free_memory_mib, settings.held_idle_after, settings.never_idle
        )
        self._totals = Totals()
        self._history = TotalsHistory()
        self._shown: dict[str, Shown] = {}
        self._states: dict[str, int] = {}
        self._now = now
        self._beat_at = float("-inf")
        self._hosts: dict[str, dict[str, Any]] = {}
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
            "hosts": self._hosts,
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
        """The patch from the document as it was to the fleet as it is; empty when nothing is due.

        `received` is the broker's boot clock, `now` its wall clock, both in seconds; `refused`
        counts refused messages by reason; `load` is the broker's own, None while that is not due.
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
        # A tick may come a hair early: better a heartbeat too many than one a tick late.
        if patch or received >= self._beat_at + 0.9 * HEARTBEAT_SECONDS:
            self._beat_at = received
            self.document["now"] = patch["now"] = round(now, 3)
        return patch

    def recent(self, name: str, now: float) -> dict[str, Any] | None:
        """The last hour of a host's GPUs, of the totals for ""; None for a host without a past.

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
        hosts: dict[str, Any] = {}
        changed, fleet.changed = fleet.changed, []
        for record in changed:
            record.changed = False
            if patch := self._advance_host(record, received):
                hosts[record.name] = patch
        for name in fleet.forgotten:
            if name not in fleet.records:  # it may have come back since
                shown = self._shown.pop(name)
                self._states[shown.state] -= 1
                del self._hosts[name]
                hosts[name] = None
        fleet.forgotten.clear()
        return hosts

    def _advance_host(self, record: Record, received: float) -> dict[str, Any]:
        name, state, snapshot = record.name, record.state, record.snapshot
        if state is None:
            return {}
        shown = self._shown.get(name)
        if shown is None:
            shown = self._shown[name] = Shown(name)
            self._hosts[name] = shown.host
        turned = shown.state != state
        if turned:
            if shown.state:
                self._states[shown.state] -= 1
            self._states[state] = self._states.get(state, 0) + 1
            shown.state = state
        if snapshot is None:
            shown.host["state"] = state
            return {"state": state}
        slow, book = shown.turns.due(received)
        exact = turned or state != LIVE
        own: dict[str, Any] = {}
        if book or exact:
            age = record.run.link.age if record.run is not None else 0.0
            own = bookkeeping(snapshot, record.heard_at, age)
        only_numbers, record.only_numbers = record.only_numbers and not exact, True
        if only_numbers and not (slow and shown.behind):
            patch = follow(shown.host, snapshot, slow)
            shown.count_moved(snapshot, patch, self._limits, self._totals)
            if slow:
                shown.count_held(snapshot, self._totals)
            return add_own(patch, shown.host, shown.use, own)
        if state == LIVE:
            shown.count(name, snapshot, self._limits, self._totals)
        else:
            shown.leave(name, snapshot, self._totals)
        shown.behind = not (slow or exact)
        own.update(state=state, problems=_problems(record, snapshot))
        return advance(shown.host, snapshot, shown.use, own, slow or exact)

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


def _problems(record: Record, snapshot: Snapshot) -> list[str]:
    if not record.rivals:
        return snapshot["problems"]
    conflict = record.conflict()
    return [*snapshot["problems"], conflict] if conflict is not None else snapshot["problems"]
