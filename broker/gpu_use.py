"""Whether each GPU is busy, free or held idle: the same answer for page, API and totals; pure."""

from dataclasses import dataclass

from gpu_monitor.broker.seats import BUSY, FREE, HELD_IDLE, Seats
from gpu_monitor.wire.document import Column, Table

NEVER = float("inf")


@dataclass(frozen=True)
class UseLimits:
    """Used memory in MiB from which a GPU counts as held, seconds after which a held one is idle,
    and commands, or their first words, that may hold one forever."""

    free_memory_mib: int
    held_idle_after: float
    never_idle: tuple[str, ...] = ()


def use_of(
    gpus: Table, seated: Seats, sampled_at: float, limits: UseLimits
) -> tuple[Column, float]:
    """The column `use` of a live host, and when it will change by time alone.

    Both times are by the host's own wall clock (unix seconds), as `idle_since` is; NEVER if no held
    GPU is about to become idle. A GPU whose memory is not known is never free.
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
