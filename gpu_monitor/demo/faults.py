"""What is wrong on simulated hosts: findings in a collector's words, and what they do to GPUs."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpu_monitor.wire.document import FINDING_COLUMNS, HEALTH_KINDS, SEVERITIES, Table


class Fault(NamedTuple):
    """One row of `findings`; `gpu` is a row of the GPUs, None for a fault of the host."""

    kind: str
    severity: str
    gpu: int | None
    since: int | None
    words: str
    advice: str | None = None


class Illness(NamedTuple):
    """A fault of a card itself, on whichever GPU it occurs."""

    kind: str
    severity: str
    words: str
    advice: str | None


ILLNESSES = (
    Illness(
        "row_remap", "warning", "a faulty memory row is waiting to be remapped", "reset the GPU"
    ),
    Illness(
        "ecc",
        "warning",
        "1 uncorrected ECC error since the driver was loaded (time unknown)",
        None,
    ),
    Illness(
        "row_remap", "critical", "a faulty memory row could not be remapped", "replace the card"
    ),
)
"""What is wrong with unhealthy GPUs, most frequent first."""


def lost_gpu(row: int, since: int) -> Fault:
    """A GPU that has fallen off the bus."""
    words, remedy = "fell off the bus (GPU is lost)", "reset the GPU or reboot"
    return Fault("gpu_lost", "critical", row, since, words, remedy)


def hot_gpu(row: int, slowdown: int, since: int) -> Fault:
    """A GPU that is slowed down by heat; `slowdown` in °C."""
    words = f"at or near the temperature at which it is slowed down ({slowdown} °C)"
    return Fault("gpu_hot", "warning", row, since, words, "check its fans and the air flow")


def narrow_pcie(row: int, width: int, since: int) -> Fault:
    """A GPU whose PCIe link uses fewer than its sixteen lanes."""
    remedy = "reseat the card, and look at its slot, riser and power"
    words = f"its PCIe link uses {width} of 16 lanes"
    return Fault("pcie_narrow", "warning", row, since, words, remedy)


def full_disk(mount: str, since: int) -> Fault:
    """A disk with hardly any space left."""
    return Fault("disk_full", "warning", None, since, f"the disk at {mount} is nearly full")


def unread_processes(row: int, since: int) -> Fault:
    """A GPU whose processes the driver does not list."""
    words = "processes cannot be read: not supported by this GPU or driver"
    return Fault("processes_unread", "warning", row, since, words)


def stalled_gpus(gpus: Table) -> Iterator[Fault]:
    """The GPUs that are busy at low power now."""
    for row, since in enumerate(gpus["stalled_since"]):
        if since is not None:
            words = "busy at low power for more than ten minutes"
            remedy = "its program may be stuck, such as one that waits for another GPU"
            yield Fault("gpu_stalled", "warning", row, since, words, remedy)


def judge_health(gpus: Table, faults: Iterable[Fault]) -> None:
    """Set `health` and `health_reasons` of the GPUs that these faults are about."""
    for fault in faults:
        if fault.gpu is not None and fault.kind == "gpu_lost":
            gpus["health"][fault.gpu] = "failed"
        if fault.gpu is None or fault.kind not in HEALTH_KINDS:
            continue
        failed = fault.severity == "critical" or gpus["health"][fault.gpu] == "failed"
        gpus["health"][fault.gpu] = "failed" if failed else "degraded"
        reasons = gpus["health_reasons"][fault.gpu] or []
        gpus["health_reasons"][fault.gpu] = [*reasons, fault.words]


def finding_table(faults: Iterable[Fault]) -> Table:
    """The table `findings`: the worst first, then the host's, then in the order of GPUs."""
    rows = sorted(faults, key=_order)
    return {column: [getattr(fault, column) for fault in rows] for column in FINDING_COLUMNS}


def _order(fault: Fault) -> tuple[int, int]:
    return SEVERITIES.index(fault.severity), -1 if fault.gpu is None else fault.gpu
