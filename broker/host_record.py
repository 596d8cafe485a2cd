"""What is known of one host: its snapshot, the run it came from, who else claims its name."""

from typing import Final

from gpu_monitor.broker.freshness import FRESH, Link, Verdict
from gpu_monitor.broker.history import GpuHistory
from gpu_monitor.broker.peer_identity import address_of
from gpu_monitor.wire.changes import Changes, Last
from gpu_monitor.wire.document import Snapshot

LIVE: Final = "live"
STALE: Final = "stale"
MISSING: Final = "missing"
CONFLICT: Final = "conflict"


class Run:
    """One run of a collector: from its start to its end."""

    __slots__ = ("boot_id", "first_at", "fresh_at", "link", "peer", "run_id", "sampled_at")

    def __init__(self, changes: Changes, received: float, peer: str) -> None:
        self.boot_id = changes.body.boot_id
        self.run_id = changes.body.run_id
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

    `last` is the last message that was fresh when it arrived, at `heard_at` (unix seconds by the
    broker's clock); None until then. `state` is None while a host that is not configured has
    not been confirmed: such a host is not published.
    """

    __slots__ = (
        "changed",
        "configured",
        "heard_at",
        "history",
        "last",
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
        self.only_numbers = False
        """Whether nothing but numbers has changed since the last publication."""
        self.heard_at = 0.0
        self.history = GpuHistory()
        self.run: Run | None = None
        self.rivals: dict[tuple[str, str], Run] = {}
        self.changed = False

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot that is published; None until the first fresh one."""
        return self.last.snapshot if self.last is not None else None

    def apply(self, changes: Changes) -> Snapshot:
        """Brings the snapshot up to date and notes what has to be published."""
        if self.last is None:
            self.last = Last(changes)
        else:
            self.last.apply(changes)
        self.only_numbers &= changes.numbers is not None
        return self.last.snapshot

    def is_of_run(self, changes: Changes) -> bool:
        """Whether it comes from the run that is shown, or is the first to be."""
        run = self.run
        return (
            run is not None
            and run.run_id == changes.body.run_id
            and run.boot_id == changes.body.boot_id
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
