"""What is known of one host: its snapshot, the run it came from, who else uses its name."""

from typing import Final

from gpu_monitor.broker.freshness import FRESH, Link, Verdict, live_seconds
from gpu_monitor.broker.history import GpuHistory
from gpu_monitor.broker.own_findings import BrokerFinding, LateFinding
from gpu_monitor.broker.peer_identity import address_of
from gpu_monitor.wire.changes import Changes, Last
from gpu_monitor.wire.document import Snapshot

LIVE: Final = "live"
STALE: Final = "stale"
MISSING: Final = "missing"
CONFLICT: Final = "conflict"


class Run:
    """One run of a collector, from its start to its end.

    `first_at` and `heard_at` are when its first and its last sample arrived, `fresh_at` is when the
    last fresh one did, `sampled_at` when that was taken, `live_until` how long it keeps its host
    live: all in seconds of the broker's boot clock. `before` is the run that its host showed when
    it began.
    """

    __slots__ = (
        "boot_id",
        "first_at",
        "fresh_at",
        "heard_at",
        "link",
        "live_until",
        "peer",
        "run_id",
        "sampled_at",
    )

    def __init__(
        self, changes: Changes, received: float, peer: str, before: "Run | None" = None
    ) -> None:
        self.boot_id = changes.body.boot_id
        self.run_id = changes.body.run_id
        self.peer = address_of(peer)  # the runs in a conflict have the same key, if any
        known: Link | None = None
        if before is not None and before.boot_id == self.boot_id:  # by the same clock
            known = before.link
        self.link: Link = Link(known)
        self.first_at = self.heard_at = received
        self.fresh_at = self.live_until = float("-inf")
        self.sampled_at = float("-inf")

    @property
    def confirmed(self) -> bool:
        """Whether any sample was fresh."""
        return self.fresh_at > float("-inf")

    def judge(self, changes: Changes, received: float, now: float, limit: float) -> Verdict:
        """The verdict on a sample that arrived at `received`; one older than `limit` is old.

        `now` is the broker's wall clock.
        """
        link, body = self.link, changes.body
        self.heard_at = received
        wall_lag = now - body.sampled_at
        verdict = link.judge(received, body.sampled_boottime, wall_lag, body.sequence, limit)
        if verdict is FRESH:
            self.fresh_at = received
            self.live_until = received + live_seconds(link.late, limit)
            self.sampled_at = received - link.age
        return verdict


class HostRecord:
    """What is known of one host.

    `last` is the last message that was fresh on arrival, at `heard_at` (unix seconds by the
    broker's clock); None until then. `state` is None while a host that is not configured has not
    been confirmed: such a host is not published. `only_numbers`: whether nothing else has changed
    since the last publication. `conflict_since` is when the last conflict began (unix seconds).
    """

    __slots__ = (
        "changed",
        "configured",
        "conflict_since",
        "heard_at",
        "history",
        "last",
        "late",
        "name",
        "only_numbers",
        "rivals",
        "run",
        "state",
    )

    def __init__(self, name: str, configured: bool) -> None:
        self.name = name
        self.configured = configured
        self.state: str | None = MISSING if configured else None
        self.last: Last | None = None
        self.late = LateFinding()
        self.only_numbers = False
        self.heard_at = 0.0
        self.conflict_since = 0
        self.history = GpuHistory()
        self.run: Run | None = None
        self.rivals: dict[tuple[str, str], Run] = {}
        self.changed = False

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot to publish; None until the first fresh one."""
        return self.last.snapshot if self.last is not None else None

    @property
    def sample_age(self) -> float:
        """How old the last fresh sample was on arrival, in seconds."""
        return self.run.link.age if self.run is not None else 0.0

    def apply(self, changes: Changes) -> Snapshot:
        """Brings the snapshot up to date in place, and returns it."""
        if self.last is None:
            self.last = Last(changes)
        else:
            self.last.apply(changes)
        self.only_numbers &= changes.numbers is not None
        return self.last.snapshot

    def is_of_run(self, changes: Changes) -> bool:
        """Whether a message comes from the run that is shown."""
        run, body = self.run, changes.body
        return run is not None and (run.run_id, run.boot_id) == (body.run_id, body.boot_id)

    def findings(self) -> list[BrokerFinding]:
        """What is wrong with the host's name, or with the line to it."""
        late = self.late.finding if self.state is STALE else None
        found = [] if late is None else [late]
        conflict = self.conflict() if self.rivals else None
        if conflict is not None:
            advice = "stop one of them, or give each its own name in config.yml"
            since = self.conflict_since
            found.append(BrokerFinding("conflict", "critical", since, conflict, advice))
        return found

    def conflict(self) -> str | None:
        """Describes which collectors report under this name; None if only one does."""
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
