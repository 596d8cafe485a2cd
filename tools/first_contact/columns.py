"""Every column of the collector beside the nvidia-smi query that must agree."""

import csv
import shutil
import subprocess
from typing import Any, NamedTuple

from .collector import gpu_row, process_rows, running_collector
from .options import Options
from .record import Recorder, Unchecked

SMI_SECONDS = 15


class Field(NamedTuple):
    """A column, the nvidia-smi query that must agree, and how far a moving value may be off what
    nvidia-smi said before, during and after; None: the same text in any case. The collector's
    temperature may be five seconds old."""

    column: str
    query: str
    tolerance: float | None = None


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

Row = dict[str, str | None]


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
    processes = parse(ask("compute-apps", PROCESS_FIELDS, record), PROCESS_FIELDS)
    check_processes(record, options, last, processes)


def check_gpus(record: Recorder, snapshot: dict[str, Any], reported: list[list[Row]]) -> None:
    """Each column of each GPU that nvidia-smi lists."""
    for index in sorted({str(row["index"]) for rows in reported for row in rows}, key=int):
        rows = [row for rows in reported for row in rows if row["index"] == index]
        ours = gpu_row(snapshot, int(index))
        for field in GPU_FIELDS:
            seen, expected = ours.get(field.column), [row[field.column] for row in rows]
            what = f"GPU {index} {field.column}"
            record.check(what, agrees(field, seen, expected), seen, sorted(set(map(str, expected))))


def check_processes(
    record: Recorder, options: Options, snapshot: dict[str, Any], reported: list[Row]
) -> None:
    """Each compute process that nvidia-smi lists on the GPU."""
    gpu = gpu_row(snapshot, options.gpu)
    ours = process_rows(snapshot, gpu["row"])
    for row in reported:
        if row["gpu"] == gpu["uuid"]:
            found = ours.get(int(row["pid"] or 0))
            seen = found and found["gpu_memory_mib"]
            expected = row["gpu_memory_mib"]
            good = found is not None and agrees(PROCESS_FIELDS[2], seen, [expected])
            record.check(f"pid {row['pid']} gpu_memory_mib", good, seen, expected)


def agrees(field: Field, seen: object, reported: list[str | None]) -> bool:
    """Not known on both sides, the same text, or a number within the tolerance of what nvidia-smi
    said around that moment."""
    known = [value for value in reported if value is not None]
    if seen is None or not known:
        return seen is None and len(known) < len(reported)
    if field.tolerance is None:
        return str(seen).casefold() in map(str.casefold, known)
    numbers = [float(value) for value in known]
    low, high = min(numbers) - field.tolerance, max(numbers) + field.tolerance
    return isinstance(seen, int | float) and low <= seen <= high


def query_gpus(record: Recorder) -> list[Row]:
    """What nvidia-smi says of all GPUs now."""
    return parse(ask("gpu", GPU_FIELDS, record), GPU_FIELDS)


def ask(kind: str, fields: tuple[Field, ...], record: Recorder) -> str:
    """The answer to `--query-gpu` or `--query-compute-apps`; Unchecked if there is none."""
    if shutil.which("nvidia-smi") is None:
        raise Unchecked("nvidia-smi is not in PATH")
    names = ",".join(field.query for field in fields)
    command = ["nvidia-smi", f"--query-{kind}={names}", "--format=csv,noheader,nounits"]
    record.begin(" ".join(command[:2]))
    done = subprocess.run(command, capture_output=True, text=True, timeout=SMI_SECONDS, check=False)
    if done.returncode:
        words = (done.stdout + done.stderr).strip()[-200:]
        raise Unchecked(f"nvidia-smi ended with code {done.returncode}: {words}")
    return done.stdout


def parse(output: str, fields: tuple[Field, ...]) -> list[Row]:
    """Rows of `nvidia-smi --format=csv,noheader,nounits` by column; None for [N/A] and its kin."""
    rows = csv.reader(output.splitlines(), skipinitialspace=True)
    return [
        {f.column: None if v.startswith("[") else v for f, v in zip(fields, row, strict=True)}
        for row in rows
        if row
    ]
