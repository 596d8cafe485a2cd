"""Rows of readings become the document's columns, rounded once; pure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from gpu_monitor.collector.gpu.readings import GpuReading, Use
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.wire.document import Table
from gpu_monitor.wire.limits import MAX_WORDS

_MIB = 1 << 20


class GpuRow(NamedTuple):
    """A GPU or slice in its place: `parent` is a row's number, times are whole unix seconds."""

    gpu: GpuReading
    parent: int | None = None
    idle_since: int | None = None
    state_since: int | None = None
    stalled_since: int | None = None


class ProcessRow(NamedTuple):
    """A process on the GPU or slice in row `gpu`; times are whole unix seconds."""

    gpu: int
    use: Use
    facts: ProcessFacts
    started_at: int | None = None
    idle_since: int | None = None


def mib(size: int | None) -> int | None:
    """Whole MiB, rounded down."""
    return None if size is None else size // _MIB


def whole(value: float | None) -> int | None:
    """The nearest whole number."""
    return None if value is None else round(value)


def _throttle(gpu: GpuReading) -> list[str] | None:
    return None if gpu.throttle is None else list(gpu.throttle)


def _health(row: GpuRow) -> str | None:
    """`failed`, `degraded` or `ok`; None for a slice, whose health is its GPU's, and where the GPU
    cannot be asked."""
    gpu = row.gpu
    if row.parent is not None:
        return None
    if gpu.failed or gpu.state == "lost":
        return "failed"
    if gpu.health_reasons:
        return "degraded"
    return "ok" if gpu.state == "ok" else None


def _health_reasons(gpu: GpuReading) -> list[str] | None:
    """None where nothing is known to be wrong, but the GPU is not there to be asked."""
    told = list(gpu.health_reasons[:MAX_WORDS])
    return told if told or gpu.state == "ok" else None


_GPU_CELLS: dict[str, Callable[[GpuRow], object]] = {
    "index": lambda row: row.gpu.identity.number,
    "uuid": lambda row: row.gpu.identity.uuid,
    "name": lambda row: row.gpu.identity.name,
    "pci_bus_id": lambda row: row.gpu.identity.pci_bus_id,
    "state": lambda row: row.gpu.state,
    "reason": lambda row: row.gpu.reason,
    "state_since": lambda row: row.state_since,
    "parent": lambda row: row.parent,
    "mig_profile": lambda row: row.gpu.identity.mig_profile,
    "memory_kind": lambda row: row.gpu.memory_kind,
    "memory_total_mib": lambda row: mib(row.gpu.memory_total_bytes),
    "slowdown_celsius": lambda row: row.gpu.identity.slowdown_celsius,
    "power_limit_watts": lambda row: whole(row.gpu.power_limit_watts),
    "idle_since": lambda row: row.idle_since,
    "stalled_since": lambda row: row.stalled_since,
    "throttle": lambda row: _throttle(row.gpu),
    "health": lambda row: _health(row),
    "health_reasons": lambda row: _health_reasons(row.gpu),
    "memory_used_mib": lambda row: mib(row.gpu.memory_used_bytes),
    "utilization_percent": lambda row: row.gpu.utilization_percent,
    "temperature_celsius": lambda row: row.gpu.temperature_celsius,
    "power_watts": lambda row: whole(row.gpu.power_watts),
    "memory_controller_utilization_percent": lambda row: (
        row.gpu.memory_controller_utilization_percent
    ),
    "fan_percent": lambda row: row.gpu.fan_percent,
    "sm_clock_mhz": lambda row: row.gpu.sm_clock_mhz,
    "memory_clock_mhz": lambda row: row.gpu.memory_clock_mhz,
}

_PROCESS_CELLS: dict[str, Callable[[ProcessRow], object]] = {
    "gpu": lambda row: row.gpu,
    "pid": lambda row: row.use.pid,
    "user": lambda row: row.facts.user,
    "uid": lambda row: row.facts.uid,
    "effective_user": lambda row: row.facts.effective_user,
    "command": lambda row: row.facts.command,
    "container": lambda row: row.facts.container,
    "slurm_job_id": lambda row: row.facts.slurm_job_id,
    "pod_uid": lambda row: row.facts.pod_uid,
    "state": lambda row: row.facts.state,
    "started_at": lambda row: row.started_at,
    "idle_since": lambda row: row.idle_since,
    "type": lambda row: row.use.type,
    "gpu_memory_mib": lambda row: mib(row.use.memory_bytes),
    "sm_utilization_percent": lambda row: row.use.sm_utilization_percent,
}


def gpu_columns(rows: Iterable[GpuRow]) -> Table:
    """The table `gpus`: every column, one value per row."""
    rows = list(rows)
    return {name: [cell(row) for row in rows] for name, cell in _GPU_CELLS.items()}


def process_columns(rows: Iterable[ProcessRow]) -> Table:
    """The table `processes`: every column, one value per row."""
    rows = list(rows)
    return {name: [cell(row) for row in rows] for name, cell in _PROCESS_CELLS.items()}
