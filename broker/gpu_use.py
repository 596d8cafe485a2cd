"""Whether each GPU is busy, free or held idle: the same answer for page, API and totals; pure."""

from dataclasses import dataclass
from typing import NamedTuple

from gpu_monitor.broker.seats import Seats
from gpu_monitor.broker.vacancy import BUSY, HELD_IDLE, without_memory
from gpu_monitor.wire.document import Column, Table

NEVER = float("inf")


@dataclass(frozen=True)
class UseLimits:
    """Used memory in MiB from which a GPU counts as held, seconds after which a held one is idle,
    and commands, or their first words, that may hold one forever."""

    free_memory_mib: int
    held_idle_after: float
    never_idle: tuple[str, ...] = ()


class Uses(NamedTuple):
    """The columns `use` and `use_reason`, and when `use` will change by time alone: unix seconds by
    the host's own wall clock, as `idle_since` is; NEVER if no held GPU is about to become idle."""

    use: Column
    reasons: Column
    changes_at: float


def use_of(
    gpus: Table, processes: Table, seated: Seats, sampled_at: float, limits: UseLimits
) -> Uses:
    """The use of a live host's GPUs. A GPU whose memory use is not known is never free."""
    unknown: Column = [None] * seated.rows
    use, reasons = unknown.copy(), unknown.copy()
    for row, (settled, reason) in seated.settled:
        use[row], reasons[row] = settled, reason
    holding = _judge_vacant(use, reasons, _used_mib(gpus, processes, seated), seated, limits)
    for row, reason in seated.exclusions:
        reasons[row] = reason
    idle_since = gpus.get("idle_since") or unknown
    changes_at = NEVER
    for row in (*seated.held, *holding):
        since = idle_since[row]
        if since is None:
            use[row] = BUSY
        elif sampled_at - since >= limits.held_idle_after:
            use[row] = HELD_IDLE
        else:
            use[row] = BUSY
            changes_at = min(changes_at, since + limits.held_idle_after)
    return Uses(use, reasons, changes_at)


def _judge_vacant(
    use: Column, reasons: Column, used_mib: Column, seated: Seats, limits: UseLimits
) -> list[int]:
    """Judges the GPUs without a compute process; the rows of those that hold memory."""
    holding = []
    for row, verdict in seated.vacant:
        used = used_mib[row]
        if used is not None and used >= limits.free_memory_mib:
            holding.append(row)
            continue
        use[row], reasons[row] = verdict if used is not None else without_memory(verdict)
    return holding


def _used_mib(gpus: Table, processes: Table, seated: Seats) -> Column:
    """Used memory without that of MPS servers."""
    used: Column = gpus.get("memory_used_mib") or [None] * seated.rows
    if not seated.servers:
        return used
    used, own = used.copy(), processes.get("gpu_memory_mib")
    for row, process in seated.servers:
        if used[row] is not None and own is not None:
            used[row] -= own[process] or 0
    return used
