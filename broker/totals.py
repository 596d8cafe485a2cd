"""The fleet's totals and its users, kept by adding and subtracting what each host counts; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import sub
from typing import Any, TypeAlias

from gpu_monitor.broker.gpu_use import BUSY, FREE, HELD_IDLE, Rows, Seat, Seats
from gpu_monitor.wire.document import Column, Table

Numbers: TypeAlias = tuple[int, ...]


@dataclass
class Share:
    """What one user has on one host.

    `standing`: GPUs, processes, GPU memory in MiB and how many processes told it. `moving`:
    utilization in percent and how many GPUs told it, GPUs held idle. Whole numbers, so that
    subtracting what was added leaves nothing behind.
    """

    __slots__ = ("moving", "seat", "standing", "user")
    user: str
    seat: Seat
    standing: Numbers
    moving: Numbers


@dataclass
class Count:
    """What one live host adds to the totals, and to each of its users.

    `standing`: GPUs, lost ones, processes; memory in MiB and how many GPUs told it. `moving`:
    busy, free, held idle; memory used, power and utilization, each followed by how many GPUs
    told it.
    """

    __slots__ = ("moving", "shares", "standing")
    standing: Numbers
    moving: Numbers
    shares: tuple[Share, ...]


_NOTHING = Count((0,) * 5, (0,) * 9, ())
_NO_STANDING, _NO_MOVING = (0,) * 4, (0,) * 3


def count(gpus: Table, processes: Table, use: Column, seated: Seats) -> Count:
    """Counts a live host. A GPU split into MIG slices is counted as its slices; memory and
    power, which the slices share, are those of the physical GPUs."""
    memory = _sum(_pick(gpus.get("memory_total_mib", ()), seated.physical))
    own = len(processes.get("gpu", ()))
    standing = (seated.rows - len(seated.split), seated.lost, own, *memory)
    memory_mib = processes.get("gpu_memory_mib", ())
    utilization = gpus.get("utilization_percent", ())
    shares = tuple(
        Share(user, seat, _standing(seat, memory_mib), _moving(seat, utilization, use))
        for user, seat in seated.users.items()
    )
    return Count(standing, _moving_of_all(gpus, use, seated), shares)


def _standing(seat: Seat, memory_mib: Sequence[Any]) -> Numbers:
    memory = _sum(seat.own(memory_mib)) if memory_mib else (0, 0)
    return seat.gpus, seat.processes, *memory


def _moving(seat: Seat, utilization: Sequence[Any], use: Column) -> Numbers:
    percent, told = _sum(seat.rows(utilization)) if utilization else (0, 0)
    return percent, told, seat.rows(use).count(HELD_IDLE) if use else 0


def _moving_of_all(gpus: Table, use: Column, seated: Seats) -> Numbers:
    physical = seated.physical
    return (
        use.count(BUSY),
        use.count(FREE),
        use.count(HELD_IDLE),
        *_sum(_pick(gpus.get("memory_used_mib", ()), physical)),
        *_sum(_pick(gpus.get("power_watts", ()), physical)),
        *_sum(_pick(gpus.get("utilization_percent", ()), seated.units)),
    )


def _pick(column: Sequence[Any], rows: Rows | None) -> Sequence[Any]:
    """The values of these rows, None meaning all."""
    return column if rows is None or not column else rows(column)


def _sum(values: Sequence[Any]) -> tuple[int, int]:
    """Sum and number of the values that are known."""
    try:
        return sum(values), len(values)
    except TypeError:
        known = [value for value in values if value is not None]
        return sum(known), len(known)


class _Ledger:
    """A sum of tuples of numbers, kept by what is added and taken away; summed when asked."""

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
        self.standing = _Ledger(_NO_STANDING)
        self.moving = _Ledger(_NO_MOVING)
        self.oldest: dict[str, float | None] = {}  # host -> oldest_started_at there
        self.ordered: list[str] | None = None  # None: to be worked out again, both
        self.oldest_started_at: float | None = None

    def document(self) -> dict[str, Any]:
        gpus, processes, memory, told_memory = self.standing.sum()
        percent, told_percent, idle = self.moving.sum()
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
        if told_memory:
            entry["gpu_memory_mib"] = memory
        if told_percent:
            entry["utilization_percent"] = round(percent / told_percent)
        if self.oldest_started_at is not None:
            entry["oldest_started_at"] = self.oldest_started_at
        return entry


class Totals:
    """Sums over the hosts that are live; `changed_users` is for the publisher to empty."""

    def __init__(self) -> None:
        self.changed_users: set[str] = set()
        self._standing = _Ledger(_NOTHING.standing)
        self._moving = _Ledger(_NOTHING.moving)
        self._users: dict[str, _User] = {}

    def replace(self, host: str, old: Count | None, new: Count | None) -> None:
        """`host` counts `new` where it counted `old`; None is a host that is not live."""
        before, after = old or _NOTHING, new or _NOTHING
        self._standing.replace(before.standing, after.standing)
        self._moving.replace(before.moving, after.moving)
        leaving = {share.user: share for share in before.shares}
        for share in after.shares:
            self._replace_share(host, leaving.pop(share.user, None), share)
        for share in leaving.values():
            self._remove_share(host, share)

    def move(self, counted: Count, gpus: Table, use: Column, seated: Seats) -> None:
        """Brings `counted` up to date, and the totals with it, where nothing but numbers of GPUs
        and their use have changed since."""
        moving = _moving_of_all(gpus, use, seated)
        self._moving.replace(counted.moving, moving)
        counted.moving = moving
        utilization = gpus.get("utilization_percent", ())
        for share in counted.shares:
            moving = _moving(share.seat, utilization, use)
            if moving != share.moving:
                self.changed_users.add(share.user)
                self._users[share.user].moving.replace(share.moving, moving)
                share.moving = moving

    def hold(self, counted: Count, processes: Table) -> None:
        """As `move` where nothing but numbers of processes have changed."""
        memory_mib = processes.get("gpu_memory_mib", ())
        for share in counted.shares:
            standing = _standing(share.seat, memory_mib)
            if standing != share.standing:
                self.changed_users.add(share.user)
                self._users[share.user].standing.replace(share.standing, standing)
                share.standing = standing

    def _replace_share(self, host: str, old: Share | None, new: Share) -> None:
        self.changed_users.add(new.user)
        user = self._users.get(new.user)
        if user is None:
            user = self._users[new.user] = _User()
        user.standing.replace(old.standing if old else _NO_STANDING, new.standing)
        user.moving.replace(old.moving if old else _NO_MOVING, new.moving)
        oldest = new.seat.oldest_started_at
        if old is None or old.seat.oldest_started_at != oldest:
            user.ordered = None
            user.oldest[host] = oldest

    def _remove_share(self, host: str, old: Share) -> None:
        self.changed_users.add(old.user)
        user = self._users[old.user]
        user.standing.replace(old.standing, _NO_STANDING)
        user.moving.replace(old.moving, _NO_MOVING)
        user.ordered = None
        del user.oldest[host]
        if not user.oldest:
            del self._users[old.user]

    def document(self, states: dict[str, int]) -> dict[str, int]:
        """The member `totals`; `states` is how many hosts are in which state.

        A sum that no GPU told is not known: it is left out.
        """
        gpus, lost, processes, total, told_total = self._standing.sum()
        busy, free, idle, used, told_used, power, told_power, percent, told = self._moving.sum()
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
        for key, value, telling in (
            ("memory_total_mib", total, told_total),
            ("memory_used_mib", used, told_used),
            ("power_watts", power, told_power),
        ):
            if telling or not gpus:
                totals[key] = value
        if told:
            totals["utilization_percent"] = round(percent / told)
        return totals

    def user(self, name: str) -> dict[str, Any] | None:
        """The user's entry of `users`; None when nothing of theirs runs on a live host."""
        user = self._users.get(name)
        return user.document() if user is not None else None
