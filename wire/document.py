"""The members of a fleet, a host and a snapshot, with their kinds."""

from enum import Enum
from typing import Any, TypeAlias, TypedDict

VERSION = 1
"""Major version of the document and of every message; any other is refused as `version`."""

Column: TypeAlias = list[Any]
"""One value per row. Any, because columns of a newer collector pass through unchanged."""
Table: TypeAlias = dict[str, Column]
Scalars: TypeAlias = dict[str, Any]


class Kind(Enum):
    """The type of a column's values, any of which may be None (not known)."""

    COUNT = "a whole number from 0 to 2^53"
    NUMBER = "a finite number"
    TEXT = "text"
    WORDS = "a list of texts"
    ROW = "the number of a row of gpus"


GPU_COLUMNS = {
    "index": Kind.COUNT,
    "uuid": Kind.TEXT,
    "name": Kind.TEXT,
    "pci_bus_id": Kind.TEXT,
    "state": Kind.TEXT,
    "reason": Kind.TEXT,
    "state_since": Kind.NUMBER,
    "parent": Kind.ROW,
    "mig_profile": Kind.TEXT,
    "mig_mode": Kind.TEXT,
    "compute_mode": Kind.TEXT,
    "memory_kind": Kind.TEXT,
    "memory_total_mib": Kind.COUNT,
    "slowdown_celsius": Kind.NUMBER,
    "power_limit_watts": Kind.COUNT,
    "activity": Kind.TEXT,
    "idle_since": Kind.NUMBER,
    "stalled_since": Kind.NUMBER,
    "throttle": Kind.WORDS,
    "health": Kind.TEXT,
    "health_reasons": Kind.WORDS,
    "processes_unread": Kind.TEXT,
    "memory_used_mib": Kind.COUNT,
    "process_memory_mib": Kind.COUNT,
    "utilization_percent": Kind.COUNT,
    "temperature_celsius": Kind.NUMBER,
    "power_watts": Kind.COUNT,
    "memory_controller_utilization_percent": Kind.COUNT,
    "fan_percent": Kind.COUNT,
    "sm_clock_mhz": Kind.COUNT,
    "memory_clock_mhz": Kind.COUNT,
    "energy_joules": Kind.COUNT,
    "pcie_generation": Kind.COUNT,
    "pcie_width": Kind.COUNT,
    "nvlinks_up": Kind.COUNT,
}
"""Columns of `gpus` as a collector sends them; the broker adds USE_COLUMNS."""

USE_COLUMNS = ("use", "use_reason")

PROCESS_COLUMNS = {
    "gpu": Kind.ROW,
    "pid": Kind.COUNT,
    "user": Kind.TEXT,
    "uid": Kind.COUNT,
    "group": Kind.TEXT,
    "effective_user": Kind.TEXT,
    "command": Kind.TEXT,
    "container": Kind.TEXT,
    "slurm_job_id": Kind.TEXT,
    "pod_uid": Kind.TEXT,
    "state": Kind.TEXT,
    "started_at": Kind.NUMBER,
    "idle_since": Kind.NUMBER,
    "type": Kind.TEXT,
    "mps": Kind.TEXT,
    "gpu_memory_mib": Kind.COUNT,
    "sm_utilization_percent": Kind.COUNT,
    "cpu_percent": Kind.COUNT,
    "host_memory_mib": Kind.COUNT,
}

DISK_COLUMNS = {"mount": Kind.TEXT, "total_mib": Kind.COUNT, "used_mib": Kind.COUNT}

FINDING_COLUMNS = {
    "kind": Kind.TEXT,
    "severity": Kind.TEXT,
    "gpu": Kind.ROW,
    "since": Kind.NUMBER,
    "words": Kind.TEXT,
    "advice": Kind.TEXT,
}
"""One row for each fault of a host; its collector or the broker adds it."""

TABLES = {
    "gpus": GPU_COLUMNS,
    "processes": PROCESS_COLUMNS,
    "disks": DISK_COLUMNS,
    "findings": FINDING_COLUMNS,
}

SYSTEM_FIELDS = {
    "hostname": Kind.TEXT,
    "os": Kind.TEXT,
    "kernel": Kind.TEXT,
    "driver_version": Kind.TEXT,
    "cuda_version": Kind.TEXT,
    "booted_at": Kind.NUMBER,
    "cpu_count": Kind.COUNT,
    "memory_total_mib": Kind.COUNT,
    "swap_total_mib": Kind.COUNT,
    "cpu_percent": Kind.COUNT,
    "memory_used_mib": Kind.COUNT,
    "load_1m": Kind.NUMBER,
    "swap_used_mib": Kind.COUNT,
    "network_receive_kib_per_second": Kind.COUNT,
    "network_send_kib_per_second": Kind.COUNT,
}

COLLECTOR_FIELDS = {
    "version": Kind.TEXT,
    "cpu_percent": Kind.NUMBER,
    "memory_mib": Kind.COUNT,
    "sample_seconds": Kind.NUMBER,
}

REQUIRED_COLUMNS = {
    "gpus": frozenset({"index", "state"}),
    "processes": frozenset({"gpu", "pid"}),
    "disks": frozenset({"mount"}),
    "findings": frozenset({"kind", "severity"}),
}
"""Columns that every table with rows has, with a value in every row."""

GPU_STATES = frozenset({"ok", "lost", "asleep", "error"})
GPU_HEALTH = frozenset({"ok", "degraded", "failed"})
GPU_ACTIVITY = frozenset({"working", "quiet", "unmeasured"})
PROCESS_TYPES = frozenset({"C", "G", "C+G"})
FINDING_KINDS = frozenset(
    {
        *("gpu_lost", "gpu_error", "gpu_missing", "gpu_hot", "gpu_stalled", "mig_without_slices"),
        *("xid", "ecc", "row_remap", "page_retirement", "recovery"),
        *("pcie_narrow", "nvlink_down"),
        *("driver", "gpus_silent", "nvml_stuck", "nvml_reopening", "probe_failed"),
        *("processes_unread", "no_pids", "memory_held", "disk_full"),
        *("rows_cut", "source_error", "internal_error", "conflict", "clock", "link_late"),
    }
)
"""The kinds of findings of this version; docs/protocol.md explains each. A newer collector may send
others."""
HEALTH_KINDS = frozenset({"xid", "ecc", "row_remap", "page_retirement", "recovery"})
"""Findings about a card itself: they make up its `health` and `health_reasons`."""
SEVERITIES = ("critical", "warning", "info")
"""Of findings, the worst first; `info` needs no attention."""

IDENTITY_COLUMNS = {
    "gpus": frozenset({"uuid", "parent"}),
    "processes": frozenset({"pid", "started_at", "gpu"}),
    "disks": frozenset({"mount"}),
    "findings": frozenset({"kind", "gpu"}),
}
"""When one of these changes, all changed columns of its table travel in the same patch."""

SLOW_COLUMNS: dict[str, frozenset[str]] = {
    "gpus": frozenset(
        {
            "memory_controller_utilization_percent",
            "sm_clock_mhz",
            "memory_clock_mhz",
            "fan_percent",
            "process_memory_mib",
            "energy_joules",
            "pcie_generation",
            "pcie_width",
            "nvlinks_up",
        }
    ),
    "processes": frozenset(
        {"sm_utilization_percent", "gpu_memory_mib", "cpu_percent", "host_memory_mib"}
    ),
    "disks": frozenset({"total_mib", "used_mib"}),
    "findings": frozenset(),
}
SLOW_SYSTEM = frozenset(
    {
        "load_1m",
        "swap_used_mib",
        "network_receive_kib_per_second",
        "network_send_kib_per_second",
    }
)
SLOW_VALUE_SECONDS = 5.0
"""A host's slow values travel at most this often, all other values whenever they change."""
BOOKKEEPING = ("heard_at", "sequence", "clock_offset_seconds", "collector")
BOOKKEEPING_SECONDS = 10.0


class Snapshot(TypedDict):
    """One host as its collector sees it: the only message from collector to broker.

    `sampled_boottime` is the collector's CLOCK_BOOTTIME in seconds, taken before the sample;
    `sampled_at` its wall clock (unix seconds) at the same moment. `run_id` is new at each start
    of the collector, `boot_id` at each boot; `sequence` counts up within a run.
    """

    version: int
    name: str
    boot_id: str
    run_id: str
    sequence: int
    interval_seconds: float
    sampled_boottime: float
    sampled_at: float
    system: Scalars
    gpus: Table
    processes: Table
    disks: Table
    findings: Table
    collector: Scalars


class Host(TypedDict, total=False):
    """One host as the broker publishes it; a configured host that never reported has only `state`.

    `state` is live, stale, missing or conflict. `heard_at` is unix seconds by the broker's clock.
    """

    state: str
    heard_at: float
    sequence: int
    clock_offset_seconds: float
    system: Scalars
    gpus: Table
    processes: Table
    disks: Table
    findings: Table
    collector: Scalars


class FleetDocument(TypedDict):
    """The whole document; the web server adds the member `web`."""

    version: int
    now: float
    interval_seconds: float
    tick_seconds: float
    stale_after_seconds: float
    simulated: bool
    broker: dict[str, Any]
    totals: dict[str, int | float]
    users: dict[str, dict[str, Any]]
    hosts: dict[str, Host]
