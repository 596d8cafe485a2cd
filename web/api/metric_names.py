"""Which numbers of the document are metrics, what these are called and what they tell; pure.

A metric is named as in the document, but in the units that Prometheus asks for: of a GPU
`memory_used_mib` is gpu_monitor_gpu_memory_used_bytes. The texts are for those who read it there.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

PREFIX = "gpu_monitor_"

Scale: TypeAlias = Callable[[float], float]


class Measure(NamedTuple):
    """A member or column of the document, and the metric that it becomes."""

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
"""How a field's name ends, how the metric's does, and its value by the field's."""


def _measures(part: str, fields: dict[str, str]) -> tuple[Measure, ...]:
    made = []
    for field, help in fields.items():
        ending, unit, scale = next(rule for rule in _UNITS if field.endswith(rule[0]))
        name = f"{PREFIX}{part}_{field.removesuffix(ending)}{unit}"
        made.append(Measure(field, name, help, scale))
    return tuple(made)


BROKER = _measures("broker", {"started_at": "When the broker started."})
LOAD = _measures(
    "broker",
    {
        "waiting_messages": "The most messages that waited at once in the last ten seconds.",
        "tick_late_seconds": "How late updates of the page were at most in the last ten seconds.",
    },
)
LOAD_COUNTS = {
    "messages": "Messages that came to the broker since it started.",
    "overtaken_messages": "Those not heard because the same host's next one had come already.",
}
"""Members of the broker's load that only grow."""
TOTALS = _measures(
    "fleet",
    {
        "hosts": "Hosts, in whatever state.",
        "hosts_live": "Hosts that are live; all that follows is about these.",
        "hosts_stale": "Hosts that are not heard any more.",
        "hosts_missing": "Hosts that were never heard.",
        "gpus": "GPUs; of a divided one its slices.",
        "gpus_busy": "GPUs in use.",
        "gpus_free": "GPUs that nobody uses.",
        "gpus_held_idle": "GPUs that somebody holds and nothing runs on.",
        "gpus_lost": "GPUs that fell off the bus or vanished.",
        "memory_total_mib": "GPU memory there is.",
        "memory_used_mib": "GPU memory in use.",
        "power_watts": "Power that the GPUs draw.",
        "utilization_percent": "Utilization, mean of the GPUs that report it.",
        "users": "Users with a process on a GPU.",
        "processes": "Processes on GPUs.",
    },
)
USERS = _measures(
    "user",
    {
        "gpus": "GPUs on which the user has processes.",
        "held_idle_gpus": "Those of them that nothing runs on.",
        "processes": "Processes of the user on GPUs.",
        "gpu_memory_mib": "GPU memory of these processes.",
        "utilization_percent": "Utilization, mean of the user's GPUs.",
        "oldest_started_at": "When the oldest of these processes started.",
    },
)
HOSTS = _measures("host", {"clock_offset_seconds": "The host's clock minus the broker's."})
SYSTEM = _measures(
    "host",
    {
        "booted_at": "When the host started.",
        "cpu_count": "Logical processors.",
        "cpu_percent": "Utilization of all processors together.",
        "load_1m": "Load average of a minute.",
        "memory_total_mib": "Memory there is.",
        "memory_used_mib": "Memory in use.",
        "swap_total_mib": "Swap space there is.",
        "swap_used_mib": "Swap space in use.",
        "network_receive_kib_per_second": "What comes in from the network.",
        "network_send_kib_per_second": "What goes out to the network.",
    },
)
DISKS = _measures(
    "host_disk",
    {"total_mib": "Size of a file system.", "used_mib": "What is used of it."},
)
COLLECTOR = _measures(
    "collector",
    {
        "cpu_percent": "What the collector takes of one processor.",
        "memory_mib": "Resident memory of the collector.",
        "sample_seconds": "How long one sample takes.",
    },
)
GPUS = _measures(
    "gpu",
    {
        "memory_total_mib": "Memory there is.",
        "memory_used_mib": "Memory in use.",
        "utilization_percent": "Share of the last sample period in which a kernel ran.",
        "memory_controller_utilization_percent": "Share in which memory was read or written.",
        "temperature_celsius": "Temperature.",
        "slowdown_celsius": "Temperature at which this GPU slows down.",
        "power_watts": "Power that it draws.",
        "power_limit_watts": "Power that it may draw.",
        "fan_percent": "Speed of the fan.",
        "sm_clock_mhz": "Clock of the multiprocessors.",
        "memory_clock_mhz": "Clock of the memory.",
        "idle_since": "Since when nothing runs.",
        "stalled_since": "Since when it is busy all the time at low power.",
    },
)
