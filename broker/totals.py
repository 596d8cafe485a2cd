"""The fleet's totals and its users, kept by adding and subtracting what each host counts; pure."""

from operator import sub
from typing import Any

from gpu_monitor.broker.host_count import (
    NO_COUNT,
    NO_MOVING,
    NO_STANDING,
    Count,
    Numbers,
    Share,
    moving_of,
    moving_of_host,
    standing_of,
)
from gpu_monitor.broker.seats import Seats
from gpu_monitor.wire.document import Column, Table


class _Ledger:
    """A sum of tuples, kept as what was added to it and taken from it until it is read."""

    __slots__ = ("_added", "_sum", "_taken")

    def __init__(self, nothing: Numbers) -> None:
        self._sum = nothing
        self._added: list[Numbers] = []
        self._taken: list[Numbers] = []

    def replace(self, old: Numbers, new: Numbers) -> None:
        if old is not new:
            self._taken.append(old)
            self._added.append(new)

    def sum(self) -> Numbers:
        if self._added:
            added = map(sum, zip(self._sum, *self._added, strict=True))
            self._sum = tuple(map(sub, added, map(sum, zip(*self._taken, strict=True))))
            self._added, self._taken = [], []
        return self._sum


class _User:
    __slots__ = ("moving", "oldest", "oldest_started_at", "ordered", "standing")

    def __init__(self) -> None:
        self.standing = _Ledger(NO_STANDING)
        self.moving = _Ledger(NO_MOVING)
        self.oldest: dict[str, float | None] = {}  # host -> oldest_started_at there
        self.ordered: list[str] | None = None  # None: derive it again, and the next
        self.oldest_started_at: float | None = None

    def document(self) -> dict[str, Any]:
        gpus, processes, memory, reporting_memory = self.standing.sum()
        percent, reporting_percent, idle = self.moving.sum()
        if self.ordered is None:
            self.ordered = sorted(self.oldest)
            started = [at for at in self.oldest.values() if at is not None]
            self.oldest_started_at = min(started, default=None)
        entry: dict[str, Any] = {
            "gpus": gpus,
            "processes": processes,
            "held_idle_gpus": idle,
            "hosts": self.ordered,
        }
        if reporting_memory:
            entry["gpu_memory_mib"] = memory
        if reporting_percent:
            entry["utilization_percent"] = round(percent / reporting_percent)
        if self.oldest_started_at is not None:
            entry["oldest_started_at"] = self.oldest_started_at
        return entry


class Totals:
    """Sums over the live hosts; the publisher clears `changed_users`."""

    def __init__(self) -> None:
        self.changed_users: dict[str, None] = {}
        """In the order in which they changed."""
        self._standing = _Ledger(NO_COUNT.standing)
        self._moving = _Ledger(NO_COUNT.moving)
        self._users: dict[str, _User] = {}

    def replace(self, host: str, old: Count | None, new: Count | None) -> None:
        """Counts `new` for `host` in place of `old`; None for a host that is not live."""
        before, after = old or NO_COUNT, new or NO_COUNT
        self._standing.replace(before.standing, after.standing)
        self._moving.replace(before.moving, after.moving)
        leaving = {share.user: share for share in before.shares}
        for share in after.shares:
            self._replace_share(host, leaving.pop(share.user, None), share)
        for share in leaving.values():
            self._remove_share(host, share)

    def update_gpus(self, counted: Count, gpus: Table, use: Column, seated: Seats) -> None:
        """Updates `counted` and the totals where only numbers of GPUs, and their use, changed."""
        moving = moving_of_host(gpus, use, seated)
        self._moving.replace(counted.moving, moving)
        counted.moving = moving
        utilization = gpus.get("utilization_percent", ())
        for share in counted.shares:
            moving = moving_of(share.seat, utilization, use)
            if moving != share.moving:
                self.changed_users[share.user] = None
                self._users[share.user].moving.replace(share.moving, moving)
                share.moving = moving

    def update_processes(self, counted: Count, processes: Table) -> None:
        """Updates `counted` and the totals where only numbers of processes changed."""
        memory_mib = processes.get("gpu_memory_mib", ())
        for share in counted.shares:
            standing = standing_of(share.seat, memory_mib)
            if standing != share.standing:
                self.changed_users[share.user] = None
                self._users[share.user].standing.replace(share.standing, standing)
                share.standing = standing

    def _replace_share(self, host: str, old: Share | None, new: Share) -> None:
        self.changed_users[new.user] = None
        user = self._users.get(new.user)
        if user is None:
            user = self._users[new.user] = _User()
        user.standing.replace(old.standing if old else NO_STANDING, new.standing)
        user.moving.replace(old.moving if old else NO_MOVING, new.moving)
        oldest = new.seat.oldest_started_at
        if old is None or old.seat.oldest_started_at != oldest:
            user.ordered = None
            user.oldest[host] = oldest

    def _remove_share(self, host: str, old: Share) -> None:
        self.changed_users[old.user] = None
        user = self._users[old.user]
        user.standing.replace(old.standing, NO_STANDING)
        user.moving.replace(old.moving, NO_MOVING)
        user.ordered = None
        del user.oldest[host]
        if not user.oldest:
            del self._users[old.user]

    def document(self, states: dict[str, int]) -> dict[str, int]:
        """The member `totals`; `states` is how many hosts are in each state.

        A sum that no GPU reports is not known, and left out.
        """
        gpus, lost, processes, total, reporting_total = self._standing.sum()
        moving = self._moving.sum()
        busy, free, idle, used, reporting_used, power, reporting_power, percent, reporting = moving
        totals = {
            "hosts": sum(states.values()),
            "hosts_live": states.get("live", 0),
            "hosts_stale": states.get("stale", 0),
            "hosts_missing": states.get("missing", 0),
            "gpus": gpus,
            "gpus_busy": busy,
            "gpus_free": free,
            "gpus_held_idle": idle,
            "gpus_lost": lost,
            "users": len(self._users),
            "processes": processes,
        }
        for key, value, known in (
            ("memory_total_mib", total, reporting_total),
            ("memory_used_mib", used, reporting_used),
            ("power_watts", power, reporting_power),
        ):
            if known or not gpus:
                totals[key] = value
        if reporting:
            totals["utilization_percent"] = round(percent / reporting)
        return totals

    def user(self, name: str) -> dict[str, Any] | None:
        """The user's entry of `users`; None if they have no process on a live host."""
        user = self._users.get(name)
        return user.document() if user is not None else None
