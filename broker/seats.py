"""Who sits on which GPUs of one host: what holds until a process, a state or a slice changes."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from gpu_monitor.broker.vacancy import BUSY, GpuUse, Vacancies
from gpu_monitor.wire.document import Column, Table

Rows: TypeAlias = Callable[[Sequence[Any]], tuple[Any, ...]]
"""Picks the values of some rows out of a column."""


@lru_cache(4096)
def pick(rows: tuple[int, ...]) -> Rows:
    """Picks these rows out of a column, always as a tuple.

    itemgetter is much faster than a loop. Cached, because most hosts seat their users alike.
    """
    if len(rows) == 1:
        row = rows[0]
        return lambda column: (column[row],)
    return itemgetter(*rows) if rows else lambda column: ()


class Seat(NamedTuple):
    """One user's place on a host.

    `rows` picks the GPUs, each once, out of a column of gpus, `own` the user's processes out of one
    of processes.
    """

    gpus: int
    processes: int
    rows: Rows
    own: Rows
    oldest_started_at: float | None


class Seats(NamedTuple):
    """The rows of one host's GPUs, sorted by what decides on their use.

    `split`: GPUs divided into MIG slices; their slices are counted instead wherever use is.
    `held`: in use, however little memory they hold. `vacant`: without a compute process, and the
    verdict if they hold little memory. `settled`: the verdict whatever memory is used. Any other
    row has no use. `exclusions`: rows on which no other process may start, and why. `servers`:
    vacant rows with an MPS server, and the row of its process. `physical` picks the rows whose
    memory and power count, `units` those whose use counts; None means all.
    """

    rows: int
    split: frozenset[int]
    held: tuple[int, ...]
    vacant: tuple[tuple[int, GpuUse], ...]
    settled: tuple[tuple[int, GpuUse], ...]
    exclusions: tuple[tuple[int, str], ...]
    servers: tuple[tuple[int, int], ...]
    physical: Rows | None
    units: Rows | None
    lost: int
    users: dict[str, Seat]


_UNTELLING_KINDS = ("unified", "numa")
"""Kinds of memory whose use does not show whether a GPU is held: the operating system uses it."""

SEATING = (
    (
        *("state", "parent", "memory_kind", "memory_total_mib", "activity", "compute_mode"),
        *("mig_mode", "processes_unread", "health"),
    ),
    ("gpu", "type", "mps", "user", "started_at", "command"),
)
"""The columns of gpus and of processes that `seats`, and the steady part of a count, read."""


def seats(gpus: Table, processes: Table, never_idle: tuple[str, ...] = ()) -> Seats:
    """`never_idle` are commands, or their first words, that may hold a GPU without using it."""
    states = gpus.get("state", [])
    rows = len(states)
    parents = gpus.get("parent") or [None] * rows
    kinds: Column = gpus.get("memory_kind") or [None] * rows
    split = frozenset(parent for parent in parents if parent is not None)
    processing = _Processes(processes)
    computing = processing.gpus()
    allowed_idle = processing.gpus_of(never_idle)
    units = [row for row in range(rows) if row not in split]
    running = [row for row in units if states[row] == "ok"]
    vacancies = Vacancies(gpus, parents)
    idle = [(row, vacancies.verdict(row)) for row in running if row not in computing]
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
        held=tuple(row for row in running if row in computing and row not in allowed_idle),
        vacant=tuple(each for each in idle if kinds[each[0]] not in _UNTELLING_KINDS),
        settled=(
            *(each for each in idle if kinds[each[0]] in _UNTELLING_KINDS),
            *((row, GpuUse(BUSY)) for row in running if row in allowed_idle),
        ),
        exclusions=tuple(
            (row, why) for row in running if row in computing and (why := vacancies.exclusion(row))
        ),
        servers=tuple(each for each in processing.servers() if each[0] not in computing),
        physical=pick(tuple(physical)) if len(physical) < rows else None,
        units=pick(tuple(units)) if split else None,
        lost=sum(states[row] == "lost" for row in units),
        users=_users(processes),
    )


class _Processes:
    """Which GPUs the processes are on, by rows.

    A process that is purely graphics does not hold a GPU, nor does an MPS server: what uses the
    GPU are its clients.
    """

    def __init__(self, processes: Table) -> None:
        on = processes.get("gpu", [])
        unknown: Column = [None] * len(on)
        kinds = processes.get("type") or unknown
        mps = processes.get("mps", ())
        self._on = on
        self._holds = [kind != "G" for kind in kinds]
        self._servers = [row for row, role in enumerate(mps) if role == "server"]
        for row in self._servers:
            self._holds[row] = False
        self._commands: Column = processes.get("command") or unknown

    def gpus(self) -> frozenset[int]:
        """GPUs that a process holds."""
        return frozenset(compress(self._on, self._holds))

    def gpus_of(self, commands: tuple[str, ...]) -> frozenset[int]:
        """GPUs that a process of one of `commands` holds; a host may not send its commands."""
        if not commands:
            return frozenset()
        beginnings = tuple(f"{command} " for command in commands)
        return frozenset(
            row
            for row, holds, command in zip(self._on, self._holds, self._commands, strict=True)
            if holds and command is not None and f"{command} ".startswith(beginnings)
        )

    def servers(self) -> Iterator[tuple[int, int]]:
        """The GPU and the process of each MPS server."""
        return ((self._on[row], row) for row in self._servers)


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
