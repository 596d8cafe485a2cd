"""Whether each GPU is busy, free or held idle: the same answer for page, API and totals; pure."""

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
    """Who sits where on one host: what holds until a process, a state or a MIG slice changes.

    All are rows of `gpus`. `split` are GPUs that are divided into MIG slices: the slices stand
    for them in all that is counted as use. `held` are in use whatever their memory says, `vacant`
    are held only by memory, `unified` (no process; memory is the machine's and tells nothing)
    are free; all others have no use. `physical` are those whose memory and power are counted;
    None means all. `users` gives for each user the rows of GPUs, each once, and of processes.
    """

    rows: int
    split: frozenset[int]
    held: tuple[int, ...]
    vacant: tuple[int, ...]
    unified: tuple[int, ...]
    physical: tuple[int, ...] | None
    lost: int
    users: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]


SEATING = {"gpus": ("state", "parent", "memory_kind"), "processes": ("gpu", "type", "user")}
"""The columns that `seats` reads; while they are the same, so are the seats."""


def seats(gpus: Table, processes: Table) -> Seats:
    states = gpus.get("state", [])
    rows = len(states)
    parents = gpus.get("parent") or [None] * rows
    kinds = gpus.get("memory_kind") or [None] * rows
    split = frozenset(parent for parent in parents if parent is not None)
    computing = _computing(processes)
    usable = [row for row in range(rows) if states[row] == "ok" and row not in split]
    idle = [row for row in usable if row not in computing]
    # Unified memory is the machine's: it is counted once, however many GPUs share it.
    first_unified = kinds.index("unified") if "unified" in kinds else None
    physical = tuple(
        row
        for row in range(rows)
        if parents[row] is None and (kinds[row] != "unified" or row == first_unified)
    )
    return Seats(
        rows=rows,
        split=split,
        held=tuple(row for row in usable if row in computing),
        vacant=tuple(row for row in idle if kinds[row] != "unified"),
        unified=tuple(row for row in idle if kinds[row] == "unified"),
        physical=physical if len(physical) < rows else None,
        lost=sum(states[row] == "lost" for row in range(rows) if row not in split),
        users=_users(processes),
    )


def _computing(processes: Table) -> frozenset[int]:
    """Rows of GPUs with a process that is not known to be purely graphics."""
    on = processes.get("gpu", [])
    kinds = processes.get("type") or [None] * len(on)
    return frozenset(row for row, kind in zip(on, kinds, strict=True) if kind != "G")


def _users(processes: Table) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    on = processes.get("gpu", [])
    users: dict[str, tuple[dict[int, None], list[int]]] = {}
    for row, user in enumerate(processes.get("user", ())):
        if user is not None:
            gpus, own = users.setdefault(user, ({}, []))
            gpus[on[row]] = None
            own.append(row)
    return {user: (tuple(gpus), tuple(own)) for user, (gpus, own) in users.items()}


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
    for row in seated.unified:
        use[row] = FREE
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
