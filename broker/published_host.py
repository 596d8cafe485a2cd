"""One host as published, and what was worked out for it and holds until it changes."""

import zlib
from operator import is_
from typing import Any

from gpu_monitor.broker.delta import Turns
from gpu_monitor.broker.gpu_use import NEVER, SEATING, Seats, UseLimits, seats, use_of
from gpu_monitor.broker.totals import Count, Totals, count
from gpu_monitor.wire.document import Column, Snapshot


class Shown:
    """`host` is the host's part of the document; `use` and `counted` are those of its latest
    snapshot. `counted` is None while it is not shown as live: then it counts nowhere."""

    __slots__ = (
        "behind",
        "counted",
        "host",
        "seated",
        "seats",
        "state",
        "turns",
        "use",
        "use_changes_at",
    )

    def __init__(self, name: str) -> None:
        self.host: dict[str, Any] = {}
        self.behind = False
        """Whether slow values that have changed wait for their turn, nobody knows which."""
        self.state = ""
        self.turns = Turns(zlib.crc32(name.encode()) / 2**32)
        self.seats: Seats | None = None
        self.seated: tuple[Column | None, ...] = ()
        """The columns that `seats` was worked out from."""
        self.use: Column = []
        self.use_changes_at = NEVER
        self.counted: Count | None = None

    def leave(self, name: str, snapshot: Snapshot, totals: Totals) -> None:
        """The host is not live: none of its GPUs has a use."""
        totals.replace(name, self.counted, None)
        self.counted = None
        self.use = [None] * len(snapshot["gpus"].get("state", ()))

    def count(self, name: str, snapshot: Snapshot, limits: UseLimits, totals: Totals) -> None:
        """Works out use and what the host counts, whatever has changed."""
        gpus, processes = snapshot["gpus"], snapshot["processes"]
        seated = self._seat(snapshot, limits)
        self._tell_use(snapshot, seated, limits)
        counted = count(gpus, processes, self.use, seated)
        totals.replace(name, self.counted, counted)
        self.counted = counted

    def count_moved(
        self, snapshot: Snapshot, moves: dict[str, Any], limits: UseLimits, totals: Totals
    ) -> None:
        """As `count` where nothing but the numbers in `moves` have changed since the last time."""
        counted, seated = self.counted, self.seats
        assert counted is not None and seated is not None
        late = snapshot["sampled_at"] >= self.use_changes_at
        moved = moves.get("gpus")
        if late or (moved is not None and _tells_use(moved, seated)):
            self._tell_use(snapshot, seated, limits)
        elif moved is None:
            return
        totals.move(counted, snapshot["gpus"], self.use, seated)

    def count_held(self, snapshot: Snapshot, totals: Totals) -> None:
        """As `count` where nothing but the numbers of processes have changed."""
        assert self.counted is not None
        totals.hold(self.counted, snapshot["processes"])

    def _seat(self, snapshot: Snapshot, limits: UseLimits) -> Seats:
        """The columns that it reads are never among those that moved."""
        gpus, processes = snapshot["gpus"], snapshot["processes"]
        of_gpus, of_processes = SEATING
        columns = (*map(gpus.get, of_gpus), *map(processes.get, of_processes))
        if (
            self.seats is None
            or len(columns) != len(self.seated)
            or not all(map(is_, columns, self.seated))
        ):
            self.seats, self.seated = seats(gpus, processes, limits.never_idle), columns
        return self.seats

    def _tell_use(self, snapshot: Snapshot, seated: Seats, limits: UseLimits) -> None:
        self.use, self.use_changes_at = use_of(
            snapshot["gpus"], seated, snapshot["sampled_at"], limits
        )


def _tells_use(moved: dict[str, Any], seated: Seats) -> bool:
    """Whether `use` may differ though the seats do not: memory tells only of vacant GPUs."""
    return "idle_since" in moved or (bool(seated.vacant) and "memory_used_mib" in moved)
