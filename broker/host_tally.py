"""The use of one host's GPUs, and what the host counts in the totals, kept from tick to tick."""

from operator import is_
from typing import Any

from gpu_monitor.broker.gpu_use import NEVER, UseLimits, Uses, use_of
from gpu_monitor.broker.host_count import Count, count
from gpu_monitor.broker.seats import SEATING, Seats, seats
from gpu_monitor.broker.totals import Totals
from gpu_monitor.wire.document import Column, Snapshot


class HostTally:
    """`uses` are those of the latest snapshot that was counted."""

    __slots__ = ("_counted", "_name", "_seating", "_seats", "uses")

    def __init__(self, name: str) -> None:
        self.uses = Uses([], [], NEVER)
        self._name = name
        self._seats: Seats | None = None
        self._seating: tuple[Column | None, ...] = ()
        """The columns that `_seats` was derived from."""
        self._counted: Count | None = None
        """None while the host is not live: then it counts nowhere."""

    def remove(self, snapshot: Snapshot, totals: Totals) -> None:
        """Stops counting a host that is not live; none of its GPUs has a use."""
        totals.replace(self._name, self._counted, None)
        self._counted = None
        unknown: Column = [None] * len(snapshot["gpus"].get("state", ()))
        self.uses = Uses(unknown, unknown, NEVER)

    def count(self, snapshot: Snapshot, limits: UseLimits, totals: Totals) -> None:
        """Counts a live host, whatever has changed."""
        seated = self._seat(snapshot, limits)
        self._update_use(snapshot, seated, limits)
        counted = count(snapshot["gpus"], snapshot["processes"], self.uses.use, seated)
        totals.replace(self._name, self._counted, counted)
        self._counted = counted

    def count_numbers(
        self, snapshot: Snapshot, changed: dict[str, Any], limits: UseLimits, totals: Totals
    ) -> None:
        """As `count` where only the numbers in `changed`, by part, differ from the last count."""
        counted, seated = self._counted, self._seats
        assert counted is not None and seated is not None
        gpus = changed.get("gpus", {})
        if snapshot["sampled_at"] >= self.uses.changes_at or _use_depends_on(changed, seated):
            self._update_use(snapshot, seated, limits)
        elif not gpus:
            return
        totals.update_gpus(counted, snapshot["gpus"], self.uses.use, seated)

    def count_process_memory(self, snapshot: Snapshot, totals: Totals) -> None:
        """As `count` where only numbers of processes differ."""
        assert self._counted is not None
        totals.update_processes(self._counted, snapshot["processes"])

    def _seat(self, snapshot: Snapshot, limits: UseLimits) -> Seats:
        gpus, processes = snapshot["gpus"], snapshot["processes"]
        of_gpus, of_processes = SEATING
        columns = (*map(gpus.get, of_gpus), *map(processes.get, of_processes))
        if self._seats is None or not all(map(is_, columns, self._seating)):
            self._seats, self._seating = seats(gpus, processes, limits.never_idle), columns
        return self._seats

    def _update_use(self, snapshot: Snapshot, seated: Seats, limits: UseLimits) -> None:
        gpus, processes = snapshot["gpus"], snapshot["processes"]
        self.uses = use_of(gpus, processes, seated, snapshot["sampled_at"], limits)


def _use_depends_on(changed: dict[str, Any], seated: Seats) -> bool:
    """Whether `use` may differ; memory matters only for GPUs without a process."""
    gpus = changed.get("gpus", ())
    return (
        "idle_since" in gpus
        or (bool(seated.vacant) and "memory_used_mib" in gpus)
        or (bool(seated.servers) and "gpu_memory_mib" in changed.get("processes", ()))
    )
