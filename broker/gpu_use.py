"""Whether each GPU is busy, free or held idle: the same answer for page, API and totals; pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from gpu_monitor.wire.document import Column, Table

BUSY = "busy"
FREE = "free"
HELD_IDLE = "held_idle"

NEVER = float("inf")


@dataclass(frozen=True)
class UseLimits:
    """Memory in MiB from which a GPU counts as held, seconds after which a held one is idle, and
    commands, or their first words, that may hold one for ever."""

    free_memory_mib: int
    held_idle_after: float
    never_idle: tuple[str, ...] = ()


Rows = Callable[[Sequence[Any]], tuple[Any, ...]]
"""Picks the values of some rows out of a column."""


@lru_cache(4096)
def pick(rows: tuple[int, ...]) -> Rows:
    """itemgetter, but for one row it gives a tuple as well; as it is much quicker than a loop.

    The same for all hosts: few of them differ in who sits where.
    """
    if len(rows) == 1:
        row = rows[0]
        return lambda column: (column[row],)
    return itemgetter(*rows) if rows else lambda column: ()


class Seat(NamedTuple):
    """One user's place on a host: picks the rows of GPUs, each once, and of own processes."""

    gpus: int
    processes: int
    rows: Rows
    own: Rows
    oldest_started_at: float | None


class Seats(NamedTuple):
    """Who sits where on one host: what holds until a process, a state or a MIG slice changes.

    `split` are rows of GPUs that are divided into MIG slices: the slices stand for them in all
    that is counted as use. `held` rows are in use whatever their memory says, `vacant` ones are
    held only by memory. The use of `settled` ones is known: busy with a process that may be idle,
    free without one if their memory is the machine's, which tells nothing. All others have no use.
    `physical` picks those whose memory and power are counted, `units` those whose use is; None
    means all.
    """

    rows: int
    split: frozenset[int]
    held: tuple[int, ...]
    vacant: tuple[int, ...]
    settled: tuple[tuple[int, str], ...]
    physical: Rows | None
    units: Rows | None
    lost: int
    users: dict[str, Seat]


SEATING = ("state", "parent", "memory_kind"), ("gpu", "type", "user", "started_at", "command")
"""Columns of gpus and of processes that `seats` reads; while they are the same, so are those."""


def seats(gpus: Table, processes: Table, never_idle: tuple[str, ...] = ()) -> Seats:
    states = gpus.get("state", [])
    rows = len(states)
    parents = gpus.get("parent") or [None] * rows
    kinds: Column = gpus.get("memory_kind") or [None] * rows
    split = frozenset(parent for parent in parents if parent is not None)
    computing = _computing(processes)
    waiting = _waiting(processes, never_idle)
    units = [row for row in range(rows) if row not in split]
    running = [row for row in units if states[row] == "ok"]
    idle = [row for row in running if row not in computing]
    # Unified memory is the machine's: it is counted once, however many GPUs share it.
    first_unified = kinds.index("unified") if "unified" in kinds else None
    physical = [
        row
        for row in range(rows)
        if parents[row] is None and (kinds[row] != "unified" or row == first_unified)
    ]
    return Seats(
        rows=rows,
        split=split,
        held=tuple(row for row in running if row in computing and row not in waiting),
        vacant=tuple(row for row in idle if kinds[row] != "unified"),
        settled=(
            *((row, FREE) for row in idle if kinds[row] == "unified"),
            *((row, BUSY) for row in running if row in waiting),
        ),
        physical=pick(tuple(physical)) if len(physical) < rows else None,
        units=pick(tuple(units)) if split else None,
        lost=sum(states[row] == "lost" for row in units),
        users=_users(processes),
    )


def _computing(processes: Table) -> frozenset[int]:
    """Rows of GPUs with a process that is not known to be purely graphics."""
    on = processes.get("gpu", [])
    kinds = processes.get("type") or [None] * len(on)
    return frozenset(row for row, kind in zip(on, kinds, strict=True) if kind != "G")


def _waiting(processes: Table, commands: tuple[str, ...]) -> frozenset[int]:
    """Rows of GPUs with a process of such a command; a host may keep its commands to itself."""
    if not commands:
        return frozenset()
    beginnings = tuple(f"{command} " for command in commands)
    on = processes.get("gpu", [])
    kinds = processes.get("type") or [None] * len(on)
    told: Column = processes.get("command") or [None] * len(on)
    return frozenset(
        row
        for row, kind, command in zip(on, kinds, told, strict=True)
        if kind != "G" and command is not None and f"{command} ".startswith(beginnings)
    )


def _users(processes: Table) -> dict[str, Seat]:
    on = processes.get("gpu", [])
    own: dict[str, list[int]] = {}
    for row, user in enumerate(processes.get("user", ())):
        if user is not None:
            own.setdefault(user, []).append(row)
    return {user: _seat(rows, on, processes) for user, rows in own.items()}


def _seat(own: list[int], on: Column, processes: Table) -> Seat:
    started: Column = processes.get("started_at") or [None] * len(on)
    gpus = list(dict.fromkeys(on[row] for row in own))
    known = [started[row] for row in own if started[row] is not None]
    return Seat(len(gpus), len(own), pick(tuple(gpus)), pick(tuple(own)), min(known, default=None))


def use_of(
    gpus: Table, seated: Seats, sampled_at: float, limits: UseLimits
) -> tuple[Column, float]:
    """The column `use` of a live host, and when it will change if nothing else does.

    Both times are by the host's own wall clock (unix seconds), as `idle_since` is; NEVER when
    no held GPU is on its way to idle. A GPU whose memory is not known is never called free.
    """
    use: Column = [None] * seated.rows
    idle_since = gpus.get("idle_since") or use.copy()
    held = seated.held
    for row, settled in seated.settled:
        use[row] = settled
    if seated.vacant:
        used_mib = gpus.get("memory_used_mib") or use.copy()
        holding = []
        for row in seated.vacant:
            used = used_mib[row]
            if used is None:
                use[row] = BUSY
            elif used < limits.free_memory_mib:
                use[row] = FREE
            else:
                holding.append(row)
        held = (*held, *holding)
    changes_at = NEVER
    for row in held:
        since = idle_since[row]
        if since is None:
            use[row] = BUSY
        elif sampled_at - since >= limits.held_idle_after:
            use[row] = HELD_IDLE
        else:
            use[row] = BUSY
            changes_at = min(changes_at, since + limits.held_idle_after)
    return use, changes_at
