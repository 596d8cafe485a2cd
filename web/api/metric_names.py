"""The names, units and help texts of metrics that are numbers in the document; pure.

A metric has the name it has in the document, but in the base units of Prometheus: the column
`memory_used_mib` of GPUs becomes gpu_monitor_gpu_memory_used_bytes.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

PREFIX = "gpu_monitor_"

Scale: TypeAlias = Callable[[float], float]


class Measure(NamedTuple):
    """A member or column of the document, and the metric it becomes."""

    field: str
    name: str
    help: str
    scale: Scale


_UNITS: tuple[tuple[str, str, Scale], ...] = (
    ("_kib_per_second", "_bytes_per_second", lambda kib: kib * 1024),
    ("_mib", "_bytes", lambda mib: mib * 1_048_576),
    ("_percent", "_ratio", lambda percent: percent / 100),
    ("_mhz", "_hertz", lambda mhz: mhz * 1_000_000),
    ("_at", "_timestamp_seconds", lambda seconds: seconds),
    ("_since", "_since_timestamp_seconds", lambda seconds: seconds),
    ("load_1m", "load1", lambda load: load),
    ("cpu_count", "cpus", lambda cpus: cpus),
    ("", "", lambda value: value),
)
"""The suffix of a field, the suffix of its metric, and the conversion of the value."""


def _measures(part: str, fields: dict[str, str]) -> tuple[Measure, ...]:
    made = []
    for field, help in fields.items():
        ending, unit, scale = next(rule for rule in _UNITS if field.endswith(rule[0]))
        name = f"{PREFIX}{part}_{field.removesuffix(ending)}{unit}"
        made.append(Measure(field, name, help, scale))
    return tuple(made)


BROKER_METRICS = _measures("broker", {"started_at": "When the broker started."})
LOAD_METRICS = _measures(
    "broker",
    {
        "waiting_messages": "Longest queue of messages in the last ten seconds.",
        "tick_late_seconds": "Largest delay of an update in the last ten seconds.",
    },
)
LOAD_COUNTERS = {
    "messages": "Messages received by the broker since it started.",
    "overtaken_messages": "Messages skipped because a newer one of the same host was waiting.",
}
"""Members of the broker's load that are counters."""
TOTAL_METRICS = _measures(
    "fleet",
    {
        "hosts": "Hosts in any state.",
        "hosts_live": "Hosts that are live. The other totals count only these.",
        "hosts_stale": "Hosts that have stopped reporting.",
        "hosts_missing": "Hosts that have never reported.",
        "gpus": "GPUs. A GPU in MIG mode counts as its slices.",
        "gpus_busy": "GPUs in use.",
        "gpus_free": "GPUs that are free.",
        "gpus_held_idle": "GPUs held by a process while nothing runs on them.",
        "gpus_lost": "GPUs that fell off the bus or disappeared.",
        "memory_total_mib": "Total GPU memory.",
        "memory_used_mib": "GPU memory in use.",
        "power_watts": "Power drawn by the GPUs.",
        "utilization_percent": "Mean utilization of the GPUs that report it.",
        "users": "Users with a process on a GPU.",
        "processes": "Processes on GPUs.",
    },
)
USER_METRICS = _measures(
    "user",
    {
        "gpus": "GPUs on which the user has processes.",
        "held_idle_gpus": "GPUs that the user holds while nothing runs on them.",
        "processes": "The user's processes on GPUs.",
        "gpu_memory_mib": "GPU memory used by the user's processes.",
        "utilization_percent": "Mean utilization of the user's GPUs.",
        "oldest_started_at": "When the user's oldest process on a GPU started.",
    },
)
HOST_METRICS = _measures("host", {"clock_offset_seconds": "The host's clock minus the broker's."})
SYSTEM_METRICS = _measures(
    "host",
    {
        "booted_at": "When the host booted.",
        "cpu_count": "Logical processors.",
        "cpu_percent": "Utilization of all processors.",
        "load_1m": "Load average over one minute.",
        "memory_total_mib": "Total memory.",
        "memory_used_mib": "Memory in use.",
        "swap_total_mib": "Total swap space.",
        "swap_used_mib": "Swap space in use.",
        "network_receive_kib_per_second": "Rate of bytes received from the network.",
        "network_send_kib_per_second": "Rate of bytes sent to the network.",
    },
)
DISK_METRICS = _measures(
    "host_disk",
    {"total_mib": "Size of the file system.", "used_mib": "Space used in the file system."},
)
COLLECTOR_METRICS = _measures(
    "collector",
    {
        "cpu_percent": "CPU time used by the collector, as a share of one processor.",
        "memory_mib": "Resident memory of the collector.",
        "sample_seconds": "Duration of one sample.",
    },
)
GPU_METRICS = _measures(
    "gpu",
    {
        "memory_total_mib": "Total memory of the GPU.",
        "memory_used_mib": "Memory of the GPU in use.",
        "process_memory_mib": (
            "Memory of the GPU's processes, where the operating system manages the memory."
        ),
        "utilization_percent": "Share of the last sample period during which a kernel ran.",
        "memory_controller_utilization_percent": (
            "Share of the last sample period during which memory was read or written."
        ),
        "temperature_celsius": "Temperature of the GPU.",
        "slowdown_celsius": "Temperature at which the GPU slows down.",
        "power_watts": "Power drawn by the GPU.",
        "power_limit_watts": "Power limit of the GPU.",
        "fan_percent": "Fan speed, as a share of the maximum.",
        "sm_clock_mhz": "Clock of the streaming multiprocessors.",
        "memory_clock_mhz": "Memory clock.",
        "pcie_generation": "Generation of the PCIe link now; it falls while the GPU is idle.",
        "pcie_width": "Lanes that the PCIe link uses.",
        "nvlinks_up": "NVLinks that are up.",
        "idle_since": "When the GPU became idle.",
        "stalled_since": "Since when the GPU has been busy at low power: possibly stuck.",
    },
)
GPU_COUNTERS = {"energy_joules": "Energy that the GPU has used since its driver was loaded."}
"""Columns of GPUs that are counters."""
