"""The latest state of every host; pure: the clocks are handed in."""

from collections.abc import Iterable

from gpu_monitor.broker.freshness import FRESH, OLD, Verdict
from gpu_monitor.broker.host_record import CONFLICT, LIVE, MISSING, STALE, HostRecord, Run
from gpu_monitor.wire.changes import Changes, Last

MAX_HOSTS = 20_000
"""Where no hosts are configured, any local process may invent names; this bounds them."""
_MAX_RIVALS = 4
_UNCONFIRMED_SECONDS = 60.0
"""A host that was never confirmed is forgotten after this time."""


class Fleet:
    """All hosts by name. The publisher empties `changed`, `forgotten` and `changes`."""

    def __init__(self, hosts: Iterable[str], rpc_timeout: float, forget_after: float) -> None:
        self.records: dict[str, HostRecord] = {name: HostRecord(name, True) for name in hosts}
        self.changed: list[HostRecord] = []
        """Hosts with a new snapshot or state, each once."""
        self.forgotten: list[str] = []
        self.changes: list[tuple[str, str]] = []
        """(name, new state), in the order in which they happened."""
        self._timeout = rpc_timeout
        self._forget_after = forget_after
        self._next_sweep = float("-inf")

    def expect(self, names: Iterable[str]) -> None:
        """Replaces the configured hosts: these are missing until they report, and never forgotten.

        A host that is no longer configured is forgotten like any other; at once without a report.
        """
        wanted = frozenset(names)
        for name in sorted(wanted - self.records.keys()):
            self._set_state(self.records.setdefault(name, HostRecord(name, True)), MISSING)
        for name, record in self.records.items():
            record.configured = name in wanted
            if record.configured and record.state is None:
                self._set_state(record, MISSING)

    def last(self, name: str) -> Last | None:
        """What the host's next message is compared with."""
        record = self.records.get(name)
        return record.last if record is not None else None

    def accept(
        self, name: str, changes: Changes, received: float, now: float, peer: str = ""
    ) -> str | None:
        """Applies a host's message if it is fresh; otherwise returns the reason for its refusal.

        `received` is the broker's boot clock, `now` its wall clock, both in seconds. A sample that
        only waits for the next one to confirm it is not refused.
        """
        record = self.records.get(name)
        if record is None:
            if len(self.records) >= MAX_HOSTS:
                return "too many hosts"
            record = self.records[name] = HostRecord(name, False)
        run = record.run
        if run is None:
            run = record.run = Run(changes, received, peer)
        if not record.is_of_run(changes):
            return self._accept_rival(record, run, changes, received, now, peer)
        verdict = run.judge(changes, received, now, self._timeout)
        if verdict is not FRESH:
            if verdict is OLD:
                self._note_late(record, run.link.late, received, now)
            return _refusal(verdict)
        self._apply(record, changes, now)
        return None

    def _note_late(self, record: HostRecord, late: float, received: float, now: float) -> None:
        """`late` is in seconds; the host says it only while it is stale."""
        if record.late.judge(late, received, now) and record.state is STALE:
            self._mark_changed(record)

    def _apply(self, record: HostRecord, changes: Changes, now: float) -> None:
        snapshot = record.apply(changes)
        if record.late.finding is not None:
            record.late.finding = None
        record.heard_at = now
        record.history.add(snapshot["gpus"], now)
        if record.state is not LIVE and record.state is not CONFLICT:
            self._set_state(record, LIVE)
        else:
            self._mark_changed(record)

    def _accept_rival(
        self,
        record: HostRecord,
        run: Run,
        changes: Changes,
        received: float,
        now: float,
        peer: str,
    ) -> str | None:
        """A message of another run: of a restarted collector, or of a second one at a time.

        It is a second one if the run that is shown has sampled since the other's first message.
        Then that run remains the one that is shown until it falls silent.
        """
        rival = self._rival(record, changes, received, peer)
        verdict = rival.judge(changes, received, now, self._timeout)
        if verdict is not FRESH:
            if verdict is OLD:
                self._note_late(record, rival.link.late, received, now)
            return _refusal(verdict)
        if run.sampled_at > rival.first_at and received - run.fresh_at <= self._timeout:
            if record.state is not CONFLICT:
                record.conflict_since = round(now)
                self._set_state(record, CONFLICT)
            return "conflict"
        record.run = rival
        del record.rivals[(rival.boot_id, rival.run_id)]
        self._apply(record, changes, now)
        return None

    def _rival(self, record: HostRecord, changes: Changes, received: float, peer: str) -> Run:
        rivals = record.rivals
        key = (changes.body.boot_id, changes.body.run_id)
        if key not in rivals:
            if len(rivals) >= _MAX_RIVALS:
                del rivals[min(rivals, key=lambda known: rivals[known].fresh_at)]
            rivals[key] = Run(changes, received, peer, record.run)
        return rivals[key]

    def mark_stale(self, received: float) -> bool:
        """Marks hosts that are silent at `received` (the boot clock), and forgets old ones.

        Returns whether any state changed since the publisher emptied `forgotten`.
        """
        before = len(self.changes)
        deadline = received - self._timeout
        for record in self.records.values():
            run = record.run
            if run is None:
                continue
            if run.live_until < received and (record.state is LIVE or record.state is CONFLICT):
                self._set_state(record, STALE)
            if record.rivals or record.state is CONFLICT:
                self._drop_silent_rivals(record, deadline)
        if received >= self._next_sweep:
            self._next_sweep = received + 1.0
            self._forget(received)
        return len(self.changes) > before or bool(self.forgotten)

    def _drop_silent_rivals(self, record: HostRecord, deadline: float) -> None:
        """A rival is dropped after the silence that would make a host stale."""
        for key, rival in list(record.rivals.items()):
            if (rival.fresh_at if rival.confirmed else rival.heard_at) < deadline:
                del record.rivals[key]
        if record.state is CONFLICT and record.conflict() is None:
            self._set_state(record, LIVE)

    def _forget(self, received: float) -> None:
        gone = []
        for name, record in self.records.items():
            run = record.run
            if record.late.finding is not None and record.late.is_over(received):
                record.late.finding = None
                self._mark_changed(record)
            if record.configured or record.state is LIVE:
                continue
            silent = received - max(run.fresh_at, run.first_at) if run else float("inf")
            if silent > (_UNCONFIRMED_SECONDS if record.state is None else self._forget_after):
                gone.append(name)
        for name in gone:
            if self.records.pop(name).state is not None:
                self.forgotten.append(name)

    def _set_state(self, record: HostRecord, state: str) -> None:
        record.state = state
        self.changes.append((record.name, state))
        self._mark_changed(record)

    def _mark_changed(self, record: HostRecord) -> None:
        if not record.changed:
            record.changed = True
            self.changed.append(record)


def _refusal(verdict: Verdict) -> str | None:
    return None if verdict is Verdict.UNCONFIRMED else verdict.value
