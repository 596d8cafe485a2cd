"""The latest state of every host; pure: the clocks are handed in."""

from collections.abc import Iterable

from gpu_monitor.broker.freshness import FRESH, Verdict
from gpu_monitor.broker.host_record import CONFLICT, LIVE, MISSING, STALE, Record, Run
from gpu_monitor.wire.changes import Changes, Last

MAX_HOSTS = 20_000
"""With an empty list of hosts any local process may invent names; this is where it ends."""
_MAX_RIVALS = 4
_UNSHOWN_SECONDS = 60.0


class Fleet:
    """All hosts by name. `changed` and `changes` are for the one who publishes to empty."""

    def __init__(self, hosts: Iterable[str], rpc_timeout: float, forget_after: float) -> None:
        self.records: dict[str, Record] = {name: Record(name, True) for name in hosts}
        self.changed: list[Record] = []
        """Heard or changed in state since the publisher last looked, each once."""
        self.forgotten: list[str] = []
        self.changes: list[tuple[str, str]] = []
        """(name, new state), in the order they came about."""
        self._timeout = rpc_timeout
        self._forget_after = forget_after
        self._next_sweep = float("-inf")

    def expect(self, names: Iterable[str]) -> None:
        """Who is expected from now on: missing until heard, and never forgotten.

        One that is expected no more is forgotten as any other; at once if it was never heard.
        """
        wanted = frozenset(names)
        for name in wanted - self.records.keys():
            self._turn(self.records.setdefault(name, Record(name, True)), MISSING)
        for name, record in self.records.items():
            record.configured = name in wanted
            if record.configured and record.state is None:
                self._turn(record, MISSING)

    def previous(self, name: str) -> Last | None:
        """What the host's next message is compared with."""
        record = self.records.get(name)
        return record.last if record is not None else None

    def hear(
        self, name: str, changes: Changes, received: float, now: float, peer: str = ""
    ) -> str | None:
        """Takes in what `name` says of itself; the reason when it is not shown, else None.

        `received` is the broker's boot clock, `now` its wall clock, both in seconds. A sample
        that only waits for a second to confirm it is no refusal.
        """
        record = self.records.get(name)
        if record is None:
            if len(self.records) >= MAX_HOSTS:
                return "too many hosts"
            record = self.records[name] = Record(name, False)
        run = record.run
        if run is None:
            run = record.run = Run(changes, received, peer)
        if not record.is_of_run(changes):
            return self._hear_rival(record, run, changes, received, now, peer)
        body = changes.body
        verdict = run.judge(body.sequence, body.sampled_boottime, received, self._timeout)
        if verdict is not FRESH:
            return _refusal(verdict)
        self._apply(record, changes, now)
        return None

    def _apply(self, record: Record, changes: Changes, now: float) -> None:
        snapshot = record.apply(changes)
        record.heard_at = now
        record.history.add(snapshot["gpus"], now)
        if record.state is not LIVE and record.state is not CONFLICT:
            self._turn(record, LIVE)
        elif not record.changed:
            record.changed = True
            self.changed.append(record)

    def _hear_rival(
        self,
        record: Record,
        run: Run,
        changes: Changes,
        received: float,
        now: float,
        peer: str,
    ) -> str | None:
        """Another run speaks: the same collector started again, or a second one beside it.

        A second one it is when the run that is shown has sampled since the other's first word;
        it then stays the one that is shown until it falls silent.
        """
        rival = self._rival(record, changes, received, peer)
        body = changes.body
        verdict = rival.judge(body.sequence, body.sampled_boottime, received, self._timeout)
        if verdict is not FRESH:
            return _refusal(verdict)
        if run.sampled_at > rival.first_at and received - run.fresh_at <= self._timeout:
            if record.state is not CONFLICT:
                self._turn(record, CONFLICT)
            return "conflict"
        record.run = rival
        del record.rivals[(rival.boot_id, rival.run_id)]
        self._apply(record, changes, now)
        return None

    def _rival(self, record: Record, changes: Changes, received: float, peer: str) -> Run:
        rivals = record.rivals
        key = (changes.body.boot_id, changes.body.run_id)
        if key not in rivals:
            if len(rivals) >= _MAX_RIVALS:
                del rivals[min(rivals, key=lambda known: rivals[known].fresh_at)]
            rivals[key] = Run(changes, received, peer)
        return rivals[key]

    def look(self, received: float) -> bool:
        """Marks what has fallen silent by now (the boot clock); True when a state changed."""
        before = len(self.changes)
        deadline = received - self._timeout
        for record in self.records.values():
            run = record.run
            if run is None:
                continue
            if run.fresh_at < deadline and (record.state is LIVE or record.state is CONFLICT):
                self._turn(record, STALE)
            if record.rivals or record.state is CONFLICT:
                self._drop_silent(record, deadline)
        if received >= self._next_sweep:
            self._next_sweep = received + 1.0
            self._forget(received)
        return len(self.changes) > before or bool(self.forgotten)

    def _drop_silent(self, record: Record, deadline: float) -> None:
        """A rival is over when it has not been heard for as long as makes a host stale."""
        for key, rival in list(record.rivals.items()):
            if max(rival.fresh_at, rival.first_at) < deadline:
                del record.rivals[key]
        if record.state is CONFLICT and record.conflict() is None:
            self._turn(record, LIVE)

    def _forget(self, received: float) -> None:
        gone = []
        for name, record in self.records.items():
            run = record.run
            if record.configured or record.state is LIVE:
                continue
            silent = received - max(run.fresh_at, run.first_at) if run else float("inf")
            if silent > (_UNSHOWN_SECONDS if record.state is None else self._forget_after):
                gone.append(name)
        for name in gone:
            if self.records.pop(name).state is not None:
                self.forgotten.append(name)

    def _turn(self, record: Record, state: str) -> None:
        record.state = state
        self.changes.append((record.name, state))
        if not record.changed:
            record.changed = True
            self.changed.append(record)


def _refusal(verdict: Verdict) -> str | None:
    return None if verdict is Verdict.UNCONFIRMED else verdict.value
