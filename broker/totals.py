"""The fleet's totals and its users, kept by adding and subtracting what each host counts; pure."""

from collections.abc import Sequence
from operator import add, sub
from typing import Any, NamedTuple

from broker.use import BUSY, FREE, HELD_IDLE, Rows, Seats
from wire.document import Column, Table

_SUMS = 14
_NO_SUMS: tuple[int, ...] = (0,) * _SUMS
_NO_SHARE: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0)


class Share(NamedTuple):
    """What one user has on one host.

    `numbers`: GPUs, processes, GPU memory in MiB and how many processes told it, utilization
    in percent and how many GPUs told it, GPUs held idle. Whole numbers, so that subtracting
    what was added leaves nothing behind. `oldest_started_at` is None when not known.
    """

    numbers: tuple[int, ...]
    oldest_started_at: float | None


class Count(NamedTuple):
    """What one live host adds to the totals, and to each of its users.

    `sums`: GPUs, busy, free, held idle, lost; memory total, used, power and utilization, each
    followed by how many GPUs told it; processes.
    """

    sums: tuple[int, ...]
    users: dict[str, Share]


def count(gpus: Table, processes: Table, use: Column, seated: Seats) -> Count:
    """Counts a live host. A GPU split into MIG slices is counted as its slices; memory and
    power, which the slices share, are those of the physical GPUs."""
    sums = (
        seated.rows - len(seated.split),
        use.count(BUSY),
        use.count(FREE),
        use.count(HELD_IDLE),
        seated.lost,
        *_sum(_pick(gpus.get("memory_total_mib", ()), seated.physical)),
        *_sum(_pick(gpus.get("memory_used_mib", ()), seated.physical)),
        *_sum(_pick(gpus.get("power_watts", ()), seated.physical)),
        *_sum(_pick(gpus.get("utilization_percent", ()), seated.units)),
        len(processes.get("gpu", ())),
    )
    return Count(sums, _shares(gpus, processes, use, seated) if seated.users else {})


def _pick(column: Sequence[Any], rows: Rows | None) -> Sequence[Any]:
    """The values of these rows, None meaning all."""
    return column if rows is None or not column else rows(column)


def _sum(values: Sequence[Any]) -> tuple[int, int]:
    """Sum and number of the values that are known."""
    if None in values:
        values = [value for value in values if value is not None]
    return sum(values), len(values)


def _shares(gpus: Table, processes: Table, use: Column, seated: Seats) -> dict[str, Share]:
    utilization = gpus.get("utilization_percent", ())
    memory = processes.get("gpu_memory_mib", ())
    any_idle = HELD_IDLE in use
    shares = {}
    for user, seat in seated.users.items():
        idle = seat.rows(use).count(HELD_IDLE) if any_idle else 0
        memory_mib, told_memory = _sum(seat.own(memory)) if memory else (0, 0)
        percent, told_percent = _sum(seat.rows(utilization)) if utilization else (0, 0)
        shares[user] = Share(
            (seat.gpus, seat.processes, memory_mib, told_memory, percent, told_percent, idle),
            seat.oldest_started_at,
        )
    return shares


class _User:
    __slots__ = ("numbers", "oldest", "oldest_started_at", "ordered")

    def __init__(self) -> None:
        self.numbers: tuple[int, ...] = _NO_SHARE
        self.oldest: dict[str, float | None] = {}  # host -> oldest_started_at there
        self.ordered: list[str] | None = None  # None: to be worked out again, both
        self.oldest_started_at: float | None = None

    def document(self) -> dict[str, Any]:
        gpus, processes, memory, told_memory, percent, told_percent, idle = self.numbers
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
        self._sums: tuple[int, ...] = _NO_SUMS
        self._users: dict[str, _User] = {}

    def replace(self, host: str, old: Count | None, new: Count | None) -> None:
        """`host` counts `new` where it counted `old`; None is a host that is not live."""
        before = old.sums if old is not None else _NO_SUMS
        after = new.sums if new is not None else _NO_SUMS
        if before != after:
            self._sums = tuple(map(add, self._sums, map(sub, after, before)))
        leaving = old.users if old is not None else {}
        coming = new.users if new is not None else {}
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
        before = old.numbers if old is not None else _NO_SHARE
        after = new.numbers if new is not None else _NO_SHARE
        user.numbers = tuple(map(add, user.numbers, map(sub, after, before)))
        if new is None:
            del user.oldest[host]
        else:
            user.oldest[host] = new.oldest_started_at
        if old is None or new is None or old.oldest_started_at != new.oldest_started_at:
            user.ordered = None
        if not user.oldest:
            del self._users[name]

    def document(self, states: dict[str, int]) -> dict[str, int]:
        """The member `totals`; `states` is how many hosts are in which state.

        A sum that no GPU told is not known: it is left out.
        """
        s = self._sums
        totals = {
            "hosts": sum(states.values()),
            "hosts_live": states.get("live", 0),
            "hosts_stale": states.get("stale", 0),
            "hosts_missing": states.get("missing", 0),
            "gpus": s[0],
            "gpus_busy": s[1],
            "gpus_free": s[2],
            "gpus_held_idle": s[3],
            "gpus_lost": s[4],
            "users": len(self._users),
            "processes": s[13],
        }
        for key, total, told in (
            ("memory_total_mib", s[5], s[6]),
            ("memory_used_mib", s[7], s[8]),
            ("power_watts", s[9], s[10]),
        ):
            if told or not s[0]:
                totals[key] = total
        if s[12]:
            totals["utilization_percent"] = round(s[11] / s[12])
        return totals

    def user(self, name: str) -> dict[str, Any] | None:
        """The user's entry of `users`; None when nothing of theirs runs on a live host."""
        user = self._users.get(name)
        return user.document() if user is not None else None
