"""What is known of one host: its snapshot, the run it came from, who else claims its name."""

from typing import Final

from gpu_monitor.broker.freshness import FRESH, Link, Verdict
from gpu_monitor.broker.history import GpuHistory
from gpu_monitor.broker.peer_identity import address_of
from gpu_monitor.wire.document import Snapshot
from gpu_monitor.wire.template import Moves, Reading, Template

LIVE: Final = "live"
STALE: Final = "stale"
MISSING: Final = "missing"
CONFLICT: Final = "conflict"

_MAX_MOVES = 16
"""Messages between two ticks; beyond it the host is looked at in full, whatever has moved."""


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
    column by column. `moved` holds what each of them has moved since the publisher last looked,
    None where anything may differ.
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
        self.moved: list[Moves] | None = None
        self.heard_at = 0.0
        self.history = GpuHistory()
        self.run: Run | None = None
        self.rivals: dict[tuple[str, str], Run] = {}
        self.changed = False

    def take(self, reading: Reading) -> Moves:
        """What moved, into the snapshot that is shown; slow members only with `catch_up`."""
        template, snapshot = self.template, self.snapshot
        assert template is not None and snapshot is not None
        return self._note(template.take(reading, snapshot))

    def catch_up(self) -> None:
        """Brings the slow members of `snapshot` to the last message that was taken in."""
        if self.template is not None and self.snapshot is not None:
            moves = self.template.catch_up(self.snapshot)
            moves.pop("collector", None)  # it is part of the bookkeeping
            self._note(moves)

    def _note(self, moves: Moves) -> Moves:
        if self.moved is not None and moves:
            self.moved.append(moves)
            if len(self.moved) > _MAX_MOVES:
                self.moved = None
        return moves

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
