"""The latest state of every host; pure: the clocks are handed in."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from broker.freshness import FRESH, Link, Verdict
from broker.history import GpuHistory
from broker.identity import address_of
from wire.document import Snapshot
from wire.template import Moves, Reading, Template

MAX_HOSTS = 20_000
"""With an empty list of hosts any local process may invent names; this is where it ends."""
_MAX_RIVALS = 4
_UNSHOWN_SECONDS = 60.0

Moved: TypeAlias = dict[str, Sequence[str]]
"""Members by their part of the snapshot (system, collector or a table); one may stand twice."""

LIVE: Final = "live"
STALE: Final = "stale"
MISSING: Final = "missing"
CONFLICT: Final = "conflict"


class Run:
    """One run of a collector: from its start to its end."""

    __slots__ = ("boot_id", "first_at", "fresh_at", "link", "peer", "run_id", "sampled_at")

    def __init__(self, snapshot: Snapshot, received: float, peer: str) -> None:
        self.boot_id = snapshot["boot_id"]
        self.run_id = snapshot["run_id"]
        self.peer = address_of(peer)  # both sides of a conflict have the same key, if they have one
        self.link = Link()
        self.first_at = received
        self.fresh_at = float("-inf")
        """When the last fresh sample came, and when it was taken: by the broker's boot clock."""
        self.sampled_at = float("-inf")

    @property
    def confirmed(self) -> bool:
        return self.fresh_at > float("-inf")

    def judge(self, sequence: int, sampled: float, received: float, limit: float) -> Verdict:
        """What a sample is worth that was taken at `sampled`, by the host's boot clock."""
        link = self.link
        verdict = link.judge(received, sampled, sequence, limit)
        if verdict is FRESH:
            self.fresh_at = received
            self.sampled_at = received - link.age
        return verdict


class Record:
    """What is known of one host.

    `snapshot` is the last one that was fresh when it came, at `heard_at` (unix seconds by the
    broker's clock); None until then. `state` is None while a host that nobody configured has
    not been confirmed: it is not shown.

    `template` reads messages that repeat the last one shown; those change `snapshot` in place,
    column by column. `moved` holds which members may differ since the publisher last looked,
    None where anything may.
    """

    __slots__ = (
        "changed",
        "configured",
        "heard_at",
        "history",
        "moved",
        "name",
        "rivals",
        "run",
        "snapshot",
        "state",
        "template",
    )

    def __init__(self, name: str, configured: bool) -> None:
        self.name = name
        self.configured = configured
        self.state: str | None = MISSING if configured else None
        self.snapshot: Snapshot | None = None
        self.template: Template | None = None
        self.moved: Moved | None = None
        self.heard_at = 0.0
        self.history = GpuHistory()
        self.run: Run | None = None
        self.rivals: dict[tuple[str, str], Run] = {}
        self.changed = False

    def take(self, reading: Reading) -> None:
        """What moved, into the snapshot that is shown; slow members only with `catch_up`."""
        template, snapshot = self.template, self.snapshot
        assert template is not None and snapshot is not None
        self._note(template.take(reading, snapshot))

    def catch_up(self) -> None:
        """Brings the slow members of `snapshot` to the last message that was taken in."""
        if self.template is not None and self.snapshot is not None:
            self._note(self.template.catch_up(self.snapshot))

    def _note(self, moves: Moves) -> None:
        moved = self.moved
        for part, keys in moves:
            if moved is not None:
                before = moved.get(part)
                moved[part] = keys if before is None else [*before, *keys]

    def is_of_run(self, snapshot: Snapshot) -> bool:
        """Whether it comes from the run that is shown, or is the first to be."""
        run = self.run
        return (
            run is not None
            and run.run_id == snapshot["run_id"]
            and run.boot_id == snapshot["boot_id"]
        )

    def conflict(self) -> str | None:
        """In words, who else reports under this name; None when nobody does."""
        run = self.run
        rival = next((rival for rival in self.rivals.values() if rival.confirmed), None)
        if run is None or rival is None:
            return None
        where = (
            "both on the same machine"
            if rival.boot_id == run.boot_id
            else f"from {run.peer} (boot {run.boot_id[:8]}) "
            f"and from {rival.peer} (boot {rival.boot_id[:8]})"
        )
        return f"two collectors report as {self.name}, {where}: only the first is shown"


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

    def previous(self, name: str) -> Snapshot | None:
        record = self.records.get(name)
        return record.snapshot if record is not None else None

    def hear(
        self, name: str, snapshot: Snapshot, received: float, now: float, peer: str = ""
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
            run = record.run = Run(snapshot, received, peer)
        if not record.is_of_run(snapshot):
            return self._hear_rival(record, run, snapshot, received, now, peer)
        sequence, sampled = snapshot["sequence"], snapshot["sampled_boottime"]
        verdict = run.judge(sequence, sampled, received, self._timeout)
        if verdict is not FRESH:
            return _refusal(verdict)
        self._replace(record, snapshot, now)
        return None

    def hear_moved(
        self, record: Record, reading: Reading, received: float, now: float
    ) -> str | None:
        """As `hear`, for what the template of `record` has read."""
        run, snapshot = record.run, record.snapshot
        assert run is not None and snapshot is not None
        sequence, sampled = reading.sequence, reading.sampled_boottime
        verdict = run.judge(sequence, sampled, received, self._timeout)
        if verdict is not FRESH:
            return _refusal(verdict)
        record.take(reading)
        self._show(record, snapshot, now)
        return None

    def _replace(self, record: Record, snapshot: Snapshot, now: float) -> None:
        record.snapshot = snapshot
        record.template = record.moved = None
        self._show(record, snapshot, now)

    def _show(self, record: Record, snapshot: Snapshot, now: float) -> None:
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
        snapshot: Snapshot,
        received: float,
        now: float,
        peer: str,
    ) -> str | None:
        """Another run speaks: the same collector started again, or a second one beside it.

        A second one it is when the run that is shown has sampled since the other's first word;
        it then stays the one that is shown until it falls silent.
        """
        rival = self._rival(record, snapshot, received, peer)
        sequence, sampled = snapshot["sequence"], snapshot["sampled_boottime"]
        verdict = rival.judge(sequence, sampled, received, self._timeout)
        if verdict is not FRESH:
            return _refusal(verdict)
        if run.sampled_at > rival.first_at and received - run.fresh_at <= self._timeout:
            if record.state is not CONFLICT:
                self._turn(record, CONFLICT)
            return "conflict"
        record.run = rival
        del record.rivals[(rival.boot_id, rival.run_id)]
        self._replace(record, snapshot, now)
        return None

    def _rival(self, record: Record, snapshot: Snapshot, received: float, peer: str) -> Run:
        rivals = record.rivals
        key = (snapshot["boot_id"], snapshot["run_id"])
        if key not in rivals:
            if len(rivals) >= _MAX_RIVALS:
                del rivals[min(rivals, key=lambda known: rivals[known].fresh_at)]
            rivals[key] = Run(snapshot, received, peer)
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
