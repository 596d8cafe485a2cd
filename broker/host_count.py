"""What one live host adds to the totals and to its users; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gpu_monitor.broker.seats import Rows, Seat, Seats
from gpu_monitor.broker.vacancy import BUSY, FREE, HELD_IDLE
from gpu_monitor.wire.document import Column, Table

Numbers: TypeAlias = tuple[int, ...]


@dataclass
class Share:
    """What one user has on one host.

    `standing`: GPUs, processes, GPU memory in MiB, and how many processes report it. `moving`:
    utilization in percent, how many GPUs report it, GPUs held idle. Whole numbers, so that
    subtracting what was added leaves no rounding error.
    """

    __slots__ = ("moving", "seat", "standing", "user")
    user: str
    seat: Seat
    standing: Numbers
    moving: Numbers


@dataclass
class Count:
    """What one live host adds to the totals, and to each of its users.

    `standing`: GPUs, lost ones, processes; memory in MiB and how many GPUs report it. `moving`:
    busy, free, held idle; used memory, power and utilization, each followed by how many GPUs
    report it.
    """

    __slots__ = ("moving", "shares", "standing")
    standing: Numbers
    moving: Numbers
    shares: tuple[Share, ...]


NO_COUNT = Count((0,) * 5, (0,) * 9, ())
NO_STANDING, NO_MOVING = (0,) * 4, (0,) * 3


def count(gpus: Table, processes: Table, use: Column, seated: Seats) -> Count:
    """Counts a live host. MIG slices count instead of the GPU that is split into them, except for
    memory and power, which they share: those are counted per physical GPU."""
    memory = _sum(_pick(gpus.get("memory_total_mib", ()), seated.physical))
    own = len(processes.get("gpu", ()))
    standing = (seated.rows - len(seated.split), seated.lost, own, *memory)
    memory_mib = processes.get("gpu_memory_mib", ())
    utilization = gpus.get("utilization_percent", ())
    shares = tuple(
        Share(user, seat, standing_of(seat, memory_mib), moving_of(seat, utilization, use))
        for user, seat in seated.users.items()
    )
    return Count(standing, moving_of_host(gpus, use, seated), shares)


def standing_of(seat: Seat, memory_mib: Sequence[Any]) -> Numbers:
    memory = _sum(seat.own(memory_mib)) if memory_mib else (0, 0)
    return seat.gpus, seat.processes, *memory


def moving_of(seat: Seat, utilization: Sequence[Any], use: Column) -> Numbers:
    percent, reporting = _sum(seat.rows(utilization)) if utilization else (0, 0)
    return percent, reporting, seat.rows(use).count(HELD_IDLE) if use else 0


def moving_of_host(gpus: Table, use: Column, seated: Seats) -> Numbers:
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
