"""Who sits on which GPUs of one host: what holds until a process, a state or a slice changes."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from gpu_monitor.wire.document import Column, Table

BUSY = "busy"
FREE = "free"
HELD_IDLE = "held_idle"

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
    `held`: in use, however little memory they hold. `vacant`: held by memory only, if at all.
    `settled`: rows whose use is known: busy with a process that may be idle, or free without a
    process if the memory is the machine's, which says nothing about the GPU. Any other row has no
    use. `physical` picks the rows whose memory and power count, `units` those whose use counts;
    None means all.
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


SEATING = (
    ("state", "parent", "memory_kind", "memory_total_mib"),
    ("gpu", "type", "user", "started_at", "command"),
)
"""The columns of gpus and of processes that `seats`, and the steady part of a count, read."""


def seats(gpus: Table, processes: Table, never_idle: tuple[str, ...] = ()) -> Seats:
    """`never_idle` are commands, or their first words, that may hold a GPU without using it."""
    states = gpus.get("state", [])
    rows = len(states)
    parents = gpus.get("parent") or [None] * rows
    kinds: Column = gpus.get("memory_kind") or [None] * rows
    split = frozenset(parent for parent in parents if parent is not None)
    computing = _computing(processes)
    allowed_idle = _allowed_idle(processes, never_idle)
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
        held=tuple(row for row in running if row in computing and row not in allowed_idle),
        vacant=tuple(row for row in idle if kinds[row] != "unified"),
        settled=(
            *((row, FREE) for row in idle if kinds[row] == "unified"),
            *((row, BUSY) for row in running if row in allowed_idle),
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


def _allowed_idle(processes: Table, commands: tuple[str, ...]) -> frozenset[int]:
    """Rows of GPUs with a process of one of `commands`; a host may not send its commands."""
    if not commands:
        return frozenset()
    beginnings = tuple(f"{command} " for command in commands)
    on = processes.get("gpu", [])
    kinds = processes.get("type") or [None] * len(on)
    sent: Column = processes.get("command") or [None] * len(on)
    return frozenset(
        row
        for row, kind, command in zip(on, kinds, sent, strict=True)
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
