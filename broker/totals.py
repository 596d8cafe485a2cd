"""The fleet's totals and its users, kept by adding and subtracting what each host counts; pure."""

from collections.abc import Sequence
from operator import sub
from typing import Any, NamedTuple, TypeAlias

from broker.use import BUSY, FREE, HELD_IDLE, Rows, Seat, Seats
from wire.document import Column, Table

Numbers: TypeAlias = tuple[int, ...]


class Share(NamedTuple):
    """What one user has on one host.

    `standing`: GPUs, processes, GPU memory in MiB and how many processes told it. `moving`:
    utilization in percent and how many GPUs told it, GPUs held idle. Whole numbers, so that
    subtracting what was added leaves nothing behind. `oldest_started_at` is None when not known.
    """

    standing: Numbers
    moving: Numbers
    oldest_started_at: float | None


class Count(NamedTuple):
    """What one live host adds to the totals, and to each of its users.

    `standing`: GPUs, lost ones, processes; memory in MiB and how many GPUs told it. `moving`:
    busy, free, held idle; memory used, power and utilization, each followed by how many GPUs
    told it.
    """

    standing: Numbers
    moving: Numbers
    users: dict[str, Share]


_NOTHING = Count((0,) * 5, (0,) * 9, {})
_NO_SHARE = Share((0,) * 4, (0,) * 3, None)


def count(
    gpus: Table, processes: Table, use: Column, seated: Seats, before: Count | None = None
) -> Count:
    """Counts a live host. A GPU split into MIG slices is counted as its slices; memory and
    power, which the slices share, are those of the physical GPUs.

    `before` is what was counted last, where nothing but numbers of GPUs has moved since then.
    """
    physical = seated.physical
    moving = (
        use.count(BUSY),
        use.count(FREE),
        use.count(HELD_IDLE),
        *_sum(_pick(gpus.get("memory_used_mib", ()), physical)),
        *_sum(_pick(gpus.get("power_watts", ()), physical)),
        *_sum(_pick(gpus.get("utilization_percent", ()), seated.units)),
    )
    if before is not None:
        standing = before.standing
    else:
        memory = _sum(_pick(gpus.get("memory_total_mib", ()), physical))
        own = len(processes.get("gpu", ()))
        standing = (seated.rows - len(seated.split), seated.lost, own, *memory)
    if not seated.users:
        return Count(standing, moving, {})
    told = gpus.get("utilization_percent", ()), use if moving[2] else ()
    memory_mib = processes.get("gpu_memory_mib", ()) if before is None else ()
    shares = {}
    for user, seat in seated.users.items():
        if before is not None:
            held = before.users[user].standing
        else:
            memory = _sum(seat.own(memory_mib)) if memory_mib else (0, 0)
            held = (seat.gpus, seat.processes, *memory)
        shares[user] = Share(held, _moving(seat, *told), seat.oldest_started_at)
    return Count(standing, moving, shares)


def _moving(seat: Seat, utilization: Sequence[Any], use: Sequence[Any]) -> Numbers:
    percent, told = _sum(seat.rows(utilization)) if utilization else (0, 0)
    return percent, told, seat.rows(use).count(HELD_IDLE) if use else 0


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
        self.standing = _Ledger(_NO_SHARE.standing)
        self.moving = _Ledger(_NO_SHARE.moving)
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
        leaving, coming = before.users, after.users
        for user, share in coming.items():
            known = leaving.get(user)
            if known != share:
                self._replace_share(user, host, known, share)
        if leaving.keys() != coming.keys():
            for user in leaving.keys() - coming.keys():
                self._replace_share(user, host, leaving[user], None)

    def _replace_share(self, name: str, host: str, old: Share | None, new: Share | None) -> None:
        self.changed_users.add(name)
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = _User()
        before, after = old or _NO_SHARE, new or _NO_SHARE
        user.standing.replace(before.standing, after.standing)
        user.moving.replace(before.moving, after.moving)
        if old is not None and new is not None and old.oldest_started_at == new.oldest_started_at:
            return
        user.ordered = None
        if new is not None:
            user.oldest[host] = new.oldest_started_at
            return
        del user.oldest[host]
        if not user.oldest:
            del self._users[name]

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
