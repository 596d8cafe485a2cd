"""Rows of readings become the document's columns, rounded once and cut to what the wire carries.

Beside each column of NVML's: its unit, what None means where that is not just "the GPU or driver
does not report it", and the field of nvidia-smi (`--query-gpu`, or `--query-compute-apps`) that
must agree.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gpu_monitor.collector.findings import Finding, add_finding
from gpu_monitor.collector.gpu.readings import GpuReading, Use
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.collector.recent_work import Activity
from gpu_monitor.collector.wire_fit import fitted_table
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.document import HEALTH_KINDS, Snapshot, Table
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES, MAX_ROWS, MAX_TEXT

MAX_GPUS = MAX_ROWS["gpus"]
MAX_PROCESSES = MAX_ROWS["processes"]
_MIB = 1 << 20


class GpuRow(NamedTuple):
    """A GPU or slice in its place: `parent` is a row's number, times are whole unix seconds."""

    gpu: GpuReading
    parent: int | None = None
    activity: Activity | None = None
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
    """The nearest whole number; None for NaN and infinity."""
    return None if value is None or not math.isfinite(value) else round(value)


def _throttle(gpu: GpuReading) -> list[str] | None:
    return None if gpu.throttle is None else list(gpu.throttle)


def _health(row: GpuRow) -> str | None:
    """`failed`, `degraded` or `ok`; None for a slice, whose health is its GPU's, and where the GPU
    cannot be queried."""
    gpu = row.gpu
    if row.parent is not None:
        return None
    severities = [finding.severity for finding in _health_findings(gpu)]
    if "critical" in severities or gpu.state == "lost":
        return "failed"
    if severities:
        return "degraded"
    return "ok" if gpu.state == "ok" else None


def _health_reasons(gpu: GpuReading) -> list[str] | None:
    """None where no reason is known, but the GPU cannot be queried either."""
    reasons = [finding.words for finding in _health_findings(gpu)]
    return reasons if reasons or gpu.state == "ok" else None


def _health_findings(gpu: GpuReading) -> list[Finding]:
    return [finding for finding in gpu.findings if finding.kind in HEALTH_KINDS]


_GPU_CELLS: dict[str, Callable[[GpuRow], object]] = {
    # index; a slice's index within its GPU, the device of `nvidia-smi -L`
    "index": lambda row: row.gpu.identity.number,
    # uuid; None for a GPU that has not been opened yet
    "uuid": lambda row: row.gpu.identity.uuid,
    # name
    "name": lambda row: row.gpu.identity.name,
    # pci.bus_id; None for a slice
    "pci_bus_id": lambda row: row.gpu.identity.pci_bus_id,
    # ok, lost, asleep or error
    "state": lambda row: row.gpu.state,
    # why the state is not ok, in words; None while it is
    "reason": lambda row: row.gpu.reason,
    # unix seconds; None while the state is ok
    "state_since": lambda row: row.state_since,
    # the row of the GPU that a slice belongs to; None for a GPU
    "parent": lambda row: row.parent,
    # like 1g.10gb, as in `nvidia-smi -L`; None for a GPU
    "mig_profile": lambda row: row.gpu.identity.mig_profile,
    # enabled or disabled; None for a GPU without MIG, and for a slice: mig.mode.current
    "mig_mode": lambda row: row.gpu.mig_mode,
    # default, exclusive_process or prohibited; None for a slice, whose mode is its GPU's:
    # compute_mode
    "compute_mode": lambda row: row.gpu.compute_mode,
    # device; unified where the GPU shares the host's memory; numa where the operating system
    # manages the GPU's
    "memory_kind": lambda row: row.gpu.memory_kind,
    # MiB: memory.total
    "memory_total_mib": lambda row: mib(row.gpu.memory_total_bytes),
    # degrees Celsius: the slowdown temperature of `nvidia-smi -q -d TEMPERATURE`
    "slowdown_celsius": lambda row: row.gpu.identity.slowdown_celsius,
    # W: enforced.power.limit
    "power_limit_watts": lambda row: whole(row.gpu.power_limit_watts),
    # working or quiet within the last 30 s, or unmeasured; None where not known
    "activity": lambda row: row.activity,
    # unix seconds; None while the GPU works, and where its utilization is not known
    "idle_since": lambda row: row.idle_since,
    # unix seconds; None while it is not busy at low power, and where one of the values is not known
    "stalled_since": lambda row: row.stalled_since,
    # what holds the clocks down, in words: clocks_event_reasons.active
    "throttle": lambda row: _throttle(row.gpu),
    # ok, degraded or failed
    "health": lambda row: _health(row),
    # the words of its findings of HEALTH_KINDS
    "health_reasons": lambda row: _health_reasons(row.gpu),
    # why the processes could not be listed, in words; None where they could
    "processes_unread": lambda row: row.gpu.uses_unread,
    # MiB: memory.used
    "memory_used_mib": lambda row: mib(row.gpu.memory_used_bytes),
    # MiB: the sum over its processes; None for memory of the kind device, where the memory in use
    # says more
    "process_memory_mib": lambda row: mib(row.gpu.process_memory_bytes),
    # %: utilization.gpu; None for a divided GPU
    "utilization_percent": lambda row: row.gpu.utilization_percent,
    # degrees Celsius: temperature.gpu
    "temperature_celsius": lambda row: row.gpu.temperature_celsius,
    # W: power.draw
    "power_watts": lambda row: whole(row.gpu.power_watts),
    # %: utilization.memory
    "memory_controller_utilization_percent": lambda row: (
        row.gpu.memory_controller_utilization_percent
    ),
    # %: fan.speed; None for a card without a fan of its own
    "fan_percent": lambda row: row.gpu.fan_percent,
    # MHz: clocks.sm
    "sm_clock_mhz": lambda row: row.gpu.sm_clock_mhz,
    # MHz: clocks.mem
    "memory_clock_mhz": lambda row: row.gpu.memory_clock_mhz,
    # J since the driver was loaded; None for a slice. nvidia-smi has no field for it
    "energy_joules": lambda row: row.gpu.energy_joules,
    # pcie.link.gen.current; None for a slice
    "pcie_generation": lambda row: row.gpu.pcie_generation,
    # lanes: pcie.link.width.current; None for a slice
    "pcie_width": lambda row: row.gpu.pcie_width,
    # how many of `nvidia-smi nvlink -s` have a speed; None for a slice, and without NVLink
    "nvlinks_up": lambda row: row.gpu.nvlinks_up,
}

_PROCESS_CELLS: dict[str, Callable[[ProcessRow], object]] = {
    # row of its GPU or slice
    "gpu": lambda row: row.gpu,
    # pid, of the host
    "pid": lambda row: row.use.pid,
    # None while the process was never seen in /proc
    "user": lambda row: row.facts.user,
    "uid": lambda row: row.facts.uid,
    # the primary group of `user`; None where the name service knows none
    "group": lambda row: row.facts.group,
    # as whom it runs where that is not `user`; None otherwise
    "effective_user": lambda row: row.facts.effective_user,
    # None where the configuration hides commands
    "command": lambda row: row.facts.command,
    # None outside one
    "container": lambda row: row.facts.container,
    "slurm_job_id": lambda row: row.facts.slurm_job_id,
    "pod_uid": lambda row: row.facts.pod_uid,
    # ended, zombie, stuck or hidden; None for a process that runs or waits
    "state": lambda row: row.facts.state,
    # unix seconds
    "started_at": lambda row: row.started_at,
    # unix seconds; None while it works, and where its share of the GPU is not known
    "idle_since": lambda row: row.idle_since,
    # C, G or C+G, as in the table of `nvidia-smi`
    "type": lambda row: row.use.type,
    # client or server of MPS; None for any other process
    "mps": lambda row: row.facts.mps or row.use.mps,
    # MiB: used_gpu_memory
    "gpu_memory_mib": lambda row: mib(row.use.memory_bytes),
    # %: sm of `nvidia-smi pmon`
    "sm_utilization_percent": lambda row: row.use.sm_utilization_percent,
    # % of one core: %CPU of `top`; None at first, and for a process that is over or hidden
    "cpu_percent": lambda row: row.facts.cpu_percent,
    # MiB: RES of `top`
    "host_memory_mib": lambda row: mib(row.facts.host_memory_bytes),
}


def gpu_columns(rows: Iterable[GpuRow]) -> Table:
    """The table `gpus`: every column, one value per row."""
    rows = list(rows)
    return {name: [cell(row) for row in rows] for name, cell in _GPU_CELLS.items()}


def process_columns(rows: Iterable[ProcessRow]) -> Table:
    """The table `processes`: every column, one value per row."""
    rows = list(rows)
    return {name: [cell(row) for row in rows] for name, cell in _PROCESS_CELLS.items()}


def largest_processes(rows: Sequence[ProcessRow], limit: int = MAX_PROCESSES) -> list[ProcessRow]:
    """At most `limit` rows, those with the most GPU memory, in their order."""
    if len(rows) <= limit:
        return list(rows)
    by_memory = sorted(rows, key=lambda row: row.use.memory_bytes or 0, reverse=True)
    kept = {id(row) for row in by_memory[:limit]}
    return [row for row in rows if id(row) in kept]


def packed(snapshot: Snapshot, limit: int = MAX_MESSAGE_BYTES) -> bytes:
    """`snapshot` as bytes for the wire, at most `limit` of them.

    A larger one is sent with half of its processes, then a quarter, and so on: those with the most
    GPU memory. Where that is not enough, its texts are cut, to half as many characters each time.
    The broker would drop the connection over a larger message, every time.
    """
    data = pack(snapshot)
    rows, characters = len(snapshot["processes"]["pid"]), MAX_TEXT
    smaller = snapshot
    while len(data) > limit and rows:
        rows //= 2
        smaller = _with_fewer_processes(snapshot, rows)
        data = pack(smaller)
    while len(data) > limit and characters > 1:
        characters //= 2
        data = pack(_with_shorter_texts(smaller, characters))
    return data


def _with_shorter_texts(snapshot: Snapshot, characters: int) -> Snapshot:
    shorter = snapshot.copy()
    shorter["gpus"] = fitted_table(snapshot["gpus"], "gpus", characters)
    shorter["disks"] = fitted_table(snapshot["disks"], "disks", characters)
    shorter["findings"] = fitted_table(snapshot["findings"], "findings", characters)
    return shorter


def _with_fewer_processes(snapshot: Snapshot, rows: int) -> Snapshot:
    table = snapshot["processes"]
    words = f"message too large, {rows} of {len(table['pid'])} processes shown"
    cut = Finding("rows_cut", "info", words)
    smaller = snapshot.copy()
    smaller["findings"] = add_finding(snapshot["findings"], cut, None)
    smaller["processes"] = _largest_of_table(table, rows)
    return smaller


def _largest_of_table(table: Table, rows: int) -> Table:
    sizes = [size or 0 for size in table["gpu_memory_mib"]]
    by_memory = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)
    kept = sorted(by_memory[:rows])
    return {name: [column[row] for row in kept] for name, column in table.items()}
