"""Whether each GPU is busy, free or held idle: the same answer for page, API and totals; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from wire.document import Column, Table

BUSY = "busy"
FREE = "free"
HELD_IDLE = "held_idle"

NEVER = float("inf")


@dataclass(frozen=True)
class UseLimits:
    """Memory in MiB from which a GPU counts as held, seconds after which a held one is idle."""

    free_memory_mib: int
    held_idle_after: float


@dataclass(frozen=True)
class Seats:
    """Who sits where on one host: what stays the same until a process or a MIG slice comes or goes.

    `split` are the rows of GPUs that are divided into MIG slices: the slices stand for them in
    all that is counted as use. `physical` are the rows that are no slice. `computing` are the
    rows with a process that is not purely graphics. `users` gives for each user the rows of
    GPUs, each once, and of processes.
    """

    rows: int
    split: frozenset[int]
    physical: tuple[int, ...]
    computing: frozenset[int]
    users: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]


def seats(gpus: Table, processes: Table) -> Seats:
    rows = len(gpus.get("state", ()))
    parents = gpus.get("parent") or [None] * rows
    on = processes.get("gpu", [])
    kinds = processes.get("type") or [None] * len(on)
    users: dict[str, tuple[dict[int, None], list[int]]] = {}
    for row, user in enumerate(processes.get("user", ())):
        if user is not None:
            on_rows, of_processes = users.setdefault(user, ({}, []))
            on_rows[on[row]] = None
            of_processes.append(row)
    return Seats(
        rows=rows,
        split=frozenset(parent for parent in parents if parent is not None),
        physical=tuple(row for row in range(rows) if parents[row] is None),
        computing=frozenset(row for row, kind in zip(on, kinds, strict=True) if kind != "G"),
        users={user: (tuple(on), tuple(of)) for user, (on, of) in users.items()},
    )


def use_of(
    gpus: Table, seated: Seats, sampled_at: float, limits: UseLimits
) -> tuple[Column, float]:
    """The column `use` of a live host, and when it will change if nothing else does.

    Both times are by the host's own wall clock (unix seconds), as `idle_since` is; NEVER when
    no held GPU is on its way to idle. Unified memory is the machine's: there a compute process
    alone says that the GPU is held.
    """
    rows = seated.rows
    unknown: Sequence[None] = (None,) * rows
    states = gpus.get("state", ())
    used_mib = gpus.get("memory_used_mib", unknown)
    kinds = gpus.get("memory_kind", unknown)
    idle_since = gpus.get("idle_since", unknown)
    computing, split, enough = seated.computing, seated.split, limits.free_memory_mib
    use: Column = []
    changes_at = NEVER
    for row, state in enumerate(states):
        if state != "ok" or row in split:
            use.append(None)
            continue
        if row not in computing:
            used = used_mib[row]
            if kinds[row] == "unified" or (used is not None and used < enough):
                use.append(FREE)
                continue
            if used is None:
                use.append(BUSY)
                continue
        since = idle_since[row]
        if since is None:
            use.append(BUSY)
        elif sampled_at - since >= limits.held_idle_after:
            use.append(HELD_IDLE)
        else:
            use.append(BUSY)
            changes_at = min(changes_at, since + limits.held_idle_after)
    return use, changes_at
