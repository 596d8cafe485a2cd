"""Snapshots of a small host for tests, valid in every column."""

import copy
from typing import Any, cast

from gpu_monitor.wire.changes import Last, open_message, read_changes
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.document import Snapshot
from gpu_monitor.wire.full_reader import read_in_full


def read_snapshot(data: bytes) -> Snapshot:
    """The snapshot that a broker makes of a host's first message; WireError if it refuses it."""
    return Last(read_changes(open_message(data))).snapshot


def check_snapshot(message: object, previous: Snapshot | None = None) -> Snapshot:
    """As `read_snapshot` for a message that is not packed yet; after a `previous` one what is
    equal to that is the same object."""
    if previous is None:
        return read_snapshot(pack(message))
    snapshot = cast(dict[str, Any], copy.copy(previous))
    for part, moves in read_in_full(pack(message), snapshot).items():
        values = {**(snapshot[part] if part else snapshot), **moves}
        kept = {key: value for key, value in values.items() if value is not None}
        snapshot = snapshot | {part: kept} if part else kept
    return cast(Snapshot, snapshot)


def make_snapshot(name: str = "node1", sequence: int = 1, **members: Any) -> dict[str, Any]:
    """An unpacked snapshot of two GPUs and one process; `members` override its own."""
    snapshot: dict[str, Any] = {
        "version": 1,
        "name": name,
        "boot_id": "boot",
        "run_id": "run",
        "sequence": sequence,
        "interval_seconds": 1.0,
        "sampled_boottime": 1000.0 + sequence,
        "sampled_at": 1_700_000_000.0 + sequence,
        "system": {"hostname": name, "cpu_percent": 12, "memory_total_mib": 64000},
        "gpus": make_gpus(2),
        "processes": make_processes(),
        "disks": {"mount": ["/"], "total_mib": [100_000], "used_mib": [40_000]},
        "findings": make_findings(),
        "collector": {"version": "0.1.0", "cpu_percent": 0.2, "memory_mib": 25},
    }
    return snapshot | members


def make_findings(*kinds: str, **columns: list[Any]) -> dict[str, list[Any]]:
    """A table with a warning of each of these kinds about the host; `columns` replace or add."""
    rows = len(kinds)
    table: dict[str, list[Any]] = {
        "kind": list(kinds),
        "severity": ["warning"] * rows,
        "gpu": [None] * rows,
        "since": [1_700_000_000] * rows,
        "words": [f"what {kind} means" for kind in kinds],
        "advice": [None] * rows,
    }
    return table | columns


def make_gpus(count: int, **columns: list[Any]) -> dict[str, list[Any]]:
    """A table of `count` idle 80 GiB GPUs; `columns` replace or add."""
    every: dict[str, Any] = {
        "name": "NVIDIA H100 80GB HBM3",
        "state": "ok",
        "reason": None,
        "state_since": None,
        "parent": None,
        "mig_profile": None,
        "mig_mode": "disabled",
        "compute_mode": "default",
        "memory_kind": "device",
        "memory_total_mib": 81559,
        "memory_used_mib": 4,
        "utilization_percent": 0,
        "memory_controller_utilization_percent": 0,
        "temperature_celsius": 31,
        "slowdown_celsius": 87,
        "power_watts": 71,
        "power_limit_watts": 700,
        "fan_percent": None,
        "health": "ok",
        "processes_unread": None,
        "process_memory_mib": None,
        "activity": "quiet",
        "sm_clock_mhz": 345,
        "memory_clock_mhz": 2619,
        "energy_joules": 7_200_000,
        "pcie_generation": 5,
        "pcie_width": 16,
        "nvlinks_up": 18,
        "idle_since": 1_700_000_000,
    }
    table: dict[str, list[Any]] = {
        "index": list(range(count)),
        "uuid": [f"GPU-{row:08d}-1111-2222-3333-444444444444" for row in range(count)],
        "pci_bus_id": [f"00000000:{row:02X}:00.0" for row in range(count)],
        "throttle": [[] for _ in range(count)],
        "health_reasons": [[] for _ in range(count)],
    }
    return table | {key: [value] * count for key, value in every.items()} | columns


def make_processes(**columns: list[Any]) -> dict[str, list[Any]]:
    """A table of one compute process, alice's, on the first GPU; `columns` replace or add."""
    table: dict[str, list[Any]] = {
        "gpu": [0],
        "pid": [4242],
        "user": ["alice"],
        "uid": [1000],
        "group": ["physics"],
        "effective_user": [None],
        "command": ["python train.py"],
        "container": [None],
        "slurm_job_id": [None],
        "pod_uid": [None],
        "state": [None],
        "started_at": [1_699_990_000],
        "idle_since": [None],
        "gpu_memory_mib": [2000],
        "sm_utilization_percent": [80],
        "cpu_percent": [612],
        "host_memory_mib": [41_984],
        "type": ["C"],
        "mps": [None],
    }
    return table | columns
