"""Every column of the collector beside what nvidia-smi says, which must agree."""

from collections.abc import Callable
from typing import Any, NamedTuple

from gpu_monitor.collector.gpu import plausible

from .collector import gpu_row, process_rows, running_collector
from .nvidia_smi import (
    Details,
    Row,
    Slice,
    ask,
    parse_details,
    parse_rows,
    parse_slices,
    query,
)
from .options import Options
from .record import Recorder


def _same_text(seen: object, reported: str) -> bool:
    return str(seen).casefold() == reported.casefold()


def _same_reasons(seen: object, reported: str) -> bool:
    return seen == list(plausible.throttle(int(reported, 16)) or ())


class Field(NamedTuple):
    """A column, the nvidia-smi query that must agree, and how far a moving value may be off what
    nvidia-smi said before, during and after; None: it must be the `same` as one of them. The
    collector's temperature may be five seconds old."""

    column: str
    query: str
    tolerance: float | None = None
    same: Callable[[object, str], bool] = _same_text


GPU_FIELDS = (
    Field("index", "index"),
    Field("uuid", "uuid"),
    Field("name", "name"),
    Field("pci_bus_id", "pci.bus_id"),
    Field("mig_mode", "mig.mode.current"),
    Field("compute_mode", "compute_mode"),
    Field("memory_total_mib", "memory.total", 1),
    Field("memory_used_mib", "memory.used", 2),
    Field("utilization_percent", "utilization.gpu", 3),
    Field("memory_controller_utilization_percent", "utilization.memory", 3),
    Field("temperature_celsius", "temperature.gpu", 3),
    Field("power_watts", "power.draw", 10),
    Field("power_limit_watts", "enforced.power.limit", 1),
    Field("throttle", "clocks_throttle_reasons.active", same=_same_reasons),
    Field("fan_percent", "fan.speed", 2),
    Field("sm_clock_mhz", "clocks.sm", 30),
    Field("memory_clock_mhz", "clocks.mem", 30),
    Field("pcie_width", "pcie.link.width.current"),
)
PROCESS_FIELDS = (
    Field("gpu", "gpu_uuid"),
    Field("pid", "pid"),
    Field("gpu_memory_mib", "used_gpu_memory", 64),
)
SLOWDOWN = "GPU Slowdown Temp"
"""In `nvidia-smi -q`. GPUs that count down to it have "GPU Slowdown T.Limit Temp" in its place."""
MPS_CLIENT = "M+"
"""Before the type of a process: nvidia-smi tells clients of MPS apart, the collector does not."""
SHARED_MEMORY_COLUMNS = ("memory_total_mib", "memory_used_mib")
"""Of a GPU without memory of its own these are the host's, and nvidia-smi has none."""


def compare_columns(record: Recorder, options: Options) -> None:
    """Snapshots of an idle moment, with nvidia-smi asked in between."""
    query_gpus(record)
    with running_collector(record) as collector:
        collector.settle()
        compare_with_smi(record, options, collector)


def compare_with_smi(record: Recorder, options: Options, collector: Any) -> None:
    """The collector's next snapshots against nvidia-smi before and after each."""
    reported = [query_gpus(record)]
    snapshots = []
    for _ in range(2):
        snapshots.append(collector.next_snapshot())
        reported.append(query_gpus(record))
    last = snapshots[-1]
    record.note("snapshot", last)
    check_gpus(record, last, reported)
    check_processes(record, options, last, query_processes(record))
    check_details(record, last, parse_details(ask(record, "-q", "-d", "TEMPERATURE,PIDS")))
    check_slices(record, last, parse_slices(ask(record, "-L")))


def check_gpus(record: Recorder, snapshot: dict[str, Any], reported: list[list[Row]]) -> None:
    """Each column of each GPU that nvidia-smi lists; of a lost one it has not even the index."""
    known = {index for rows in reported for row in rows if (index := row["index"]) is not None}
    for index in sorted(known, key=int):
        rows = [row for rows in reported for row in rows if row["index"] == index]
        ours = gpu_row(snapshot, int(index))
        for field in GPU_FIELDS:
            seen, expected = ours.get(field.column), [row[field.column] for row in rows]
            if field.column in SHARED_MEMORY_COLUMNS and ours.get("memory_kind") == "unified":
                seen = None
            what = f"GPU {index} {field.column}"
            record.check(what, agrees(field, seen, expected), seen, sorted(set(map(str, expected))))


def check_processes(
    record: Recorder, options: Options, snapshot: dict[str, Any], reported: list[Row]
) -> None:
    """Each compute process that nvidia-smi lists on the GPU, or on a slice of it."""
    gpu = gpu_row(snapshot, options.gpu)
    ours = processes_within(snapshot, gpu["row"])
    for row in reported:
        if row["gpu"] == gpu["uuid"] and row["pid"] is not None:
            found = ours.get(int(row["pid"]))
            seen = found and found["gpu_memory_mib"]
            expected = row["gpu_memory_mib"]
            good = found is not None and agrees(PROCESS_FIELDS[2], seen, [expected])
            record.check(f"pid {row['pid']} gpu_memory_mib", good, seen, expected)


def check_details(record: Recorder, snapshot: dict[str, Any], reported: dict[str, Details]) -> None:
    """What no query has: the slowdown temperature of each GPU, and the type of each process."""
    gpus = snapshot["gpus"]
    for bus_id, details in reported.items():
        if bus_id not in gpus["pci_bus_id"]:
            record.check(f"GPU {bus_id} is in the snapshot", False, gpus["pci_bus_id"], bus_id)
            continue
        row = gpus["pci_bus_id"].index(bus_id)
        if SLOWDOWN in details.values:
            what, expected = f"GPU {bus_id} slowdown_celsius", details.values[SLOWDOWN]
            seen = gpus["slowdown_celsius"][row]
            record.check(what, expected == ("N/A" if seen is None else f"{seen} C"), seen, expected)
        ours = processes_within(snapshot, row)
        for each in details.processes:
            found = ours.get(int(each["Process ID"]))
            expected = each["Type"].removeprefix(MPS_CLIENT)
            seen = found and found["type"]
            record.check(f"pid {each['Process ID']} type", seen == expected, seen, expected)


def check_slices(record: Recorder, snapshot: dict[str, Any], reported: list[Slice]) -> None:
    """The slices of all GPUs, each with its index, profile and UUID."""
    gpus = snapshot["gpus"]
    seen = [
        Slice(gpus["index"][parent], *identity)
        for parent, *identity in zip(
            *(gpus[name] for name in ("parent", "index", "mig_profile", "uuid")), strict=True
        )
        if parent is not None
    ]
    record.check("the slices are those of nvidia-smi -L", seen == reported, seen, reported)


def processes_within(snapshot: dict[str, Any], gpu: int) -> dict[int, dict[str, Any]]:
    """The processes on the GPU in row `gpu` and on its slices, by pid."""
    parents = snapshot["gpus"]["parent"]
    rows = [gpu, *(row for row, parent in enumerate(parents) if parent == gpu)]
    return {pid: found for row in rows for pid, found in process_rows(snapshot, row).items()}


def agrees(field: Field, seen: object, reported: list[str | None]) -> bool:
    """Not known on both sides, the same text, or a number within the tolerance of what nvidia-smi
    said around that moment."""
    known = [value for value in reported if value is not None]
    if seen is None or not known:
        return seen is None and len(known) < len(reported)
    if field.tolerance is None:
        return any(field.same(seen, value) for value in known)
    numbers = [float(value) for value in known]
    low, high = min(numbers) - field.tolerance, max(numbers) + field.tolerance
    return isinstance(seen, int | float) and low <= seen <= high


def query_gpus(record: Recorder) -> list[Row]:
    """What nvidia-smi says of all GPUs now."""
    return _rows(record, "gpu", GPU_FIELDS)


def query_processes(record: Recorder) -> list[Row]:
    """The compute processes that nvidia-smi lists now."""
    return _rows(record, "compute-apps", PROCESS_FIELDS)


def _rows(record: Recorder, kind: str, fields: tuple[Field, ...]) -> list[Row]:
    answer = query(record, kind, [field.query for field in fields])
    return parse_rows(answer, [field.column for field in fields])
