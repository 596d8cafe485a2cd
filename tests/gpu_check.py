"""`make gpu-check`: compares a real snapshot with nvidia-smi in the same second."""

import csv
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any, cast

import zmq

from gpu_monitor.collector.main import run
from gpu_monitor.collector.settings import CollectorSettings
from gpu_monitor.wire.document import Snapshot
from tests.support.snapshots import read_snapshot

WARM_UP_SNAPSHOTS = 7
"""Slow readings are taken every 5 s; compare once they are complete."""


@dataclass(frozen=True)
class Field:
    """A column, the matching nvidia-smi query, and the tolerance for a changing value."""

    column: str
    query: str
    tolerance: float | None = None


GPU_FIELDS = (
    Field("index", "index"),
    Field("uuid", "uuid"),
    Field("name", "name"),
    Field("pci_bus_id", "pci.bus_id"),
    Field("memory_total_mib", "memory.total", 1),
    Field("memory_used_mib", "memory.used", 256),
    Field("utilization_percent", "utilization.gpu", 30),
    Field("memory_controller_utilization_percent", "utilization.memory", 30),
    Field("temperature_celsius", "temperature.gpu", 5),
    Field("power_watts", "power.draw", 100),
    Field("power_limit_watts", "enforced.power.limit", 1),
    Field("fan_percent", "fan.speed", 10),
    Field("sm_clock_mhz", "clocks.sm", 600),
    Field("memory_clock_mhz", "clocks.mem", 600),
)
PROCESS_FIELDS = (
    Field("gpu", "gpu_uuid"),
    Field("pid", "pid"),
    Field("gpu_memory_mib", "used_gpu_memory", 256),
)


@dataclass(frozen=True)
class Finding:
    """One compared value; `agrees` is None if nvidia-smi has no such row."""

    what: str
    collected: object
    reported: str | None
    agrees: bool


def parse(output: str, fields: tuple[Field, ...]) -> list[dict[str, str | None]]:
    """Rows of `nvidia-smi --format=csv,noheader,nounits` by column; None for [N/A] and the like."""
    rows = csv.reader(output.splitlines(), skipinitialspace=True)
    return [
        {f.column: None if v.startswith("[") else v for f, v in zip(fields, row, strict=True)}
        for row in rows
        if row
    ]


def agrees(field: Field, collected: object, reported: str | None) -> bool:
    """Whether both are unknown, the same text, or numbers within the tolerance."""
    if collected is None or reported is None:
        return collected is None and reported is None
    if field.tolerance is None:
        return str(collected) == reported
    return abs(float(cast(float, collected)) - float(reported)) <= field.tolerance


def compare_gpus(snapshot: Snapshot, output: str) -> list[Finding]:
    """Compare every physical GPU, matched by UUID."""
    table = snapshot["gpus"]
    uuids = table.get("uuid", [])
    findings = []
    for row in parse(output, GPU_FIELDS):
        here = uuids.index(row["uuid"]) if row["uuid"] in uuids else None
        for field in GPU_FIELDS:
            value = None if here is None else table[field.column][here]
            what = f"GPU {row['index']} {field.column}"
            reported = row[field.column]
            findings.append(Finding(what, value, reported, agrees(field, value, reported)))
    return findings


def compare_processes(snapshot: Snapshot, output: str) -> list[Finding]:
    """Compare every compute process that nvidia-smi lists, matched by GPU and pid."""
    table, uuids = snapshot["processes"], snapshot["gpus"].get("uuid", [])
    places = zip(table.get("gpu", []), table.get("pid", []), strict=True)
    rows = {(uuids[gpu], str(pid)): row for row, (gpu, pid) in enumerate(places)}
    findings = []
    for process in parse(output, PROCESS_FIELDS):
        row = rows.get((process["gpu"], process["pid"] or ""))
        memory = None if row is None else table["gpu_memory_mib"][row]
        reported = process["gpu_memory_mib"]
        good = row is not None and agrees(PROCESS_FIELDS[2], memory, reported)
        findings.append(Finding(f"pid {process['pid']} gpu_memory_mib", memory, reported, good))
    return findings


def take_snapshot() -> Snapshot:
    """The newest snapshot of a collector that has run for a few seconds."""
    context: zmq.Context[Any] = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.bind("inproc://snapshots")
    stop = threading.Event()
    settings = CollectorSettings(name="gpu-check", endpoint="inproc://snapshots", commands="full")
    thread = threading.Thread(target=run, args=(settings, stop, context), daemon=True)
    thread.start()
    data = b""
    for _ in range(WARM_UP_SNAPSHOTS):
        if not pull.poll(10_000):
            raise SystemExit("the collector sent no snapshot within 10 s")
        data = pull.recv()
    stop.set()
    thread.join(5)
    pull.close(0)
    context.term()
    return read_snapshot(data)


def query(kind: str, fields: tuple[Field, ...]) -> str:
    """The output of nvidia-smi for `--query-gpu` or `--query-compute-apps`."""
    names = ",".join(field.query for field in fields)
    command = ["nvidia-smi", f"--query-{kind}={names}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Print the table; return 1 if a value disagrees, 0 if all agree or there is no driver."""
    works = shutil.which("nvidia-smi") and subprocess.run(["nvidia-smi", "-L"], capture_output=True)
    if not works or works.returncode != 0:
        print("no NVIDIA driver here")
        return 0
    snapshot = take_snapshot()
    findings = compare_gpus(snapshot, query("gpu", GPU_FIELDS))
    findings += compare_processes(snapshot, query("compute-apps", PROCESS_FIELDS))
    for finding in findings:
        mark = "ok  " if finding.agrees else "DIFF"
        reported = "-" if finding.reported is None else finding.reported
        collected = "-" if finding.collected is None else finding.collected
        print(f"{mark} {finding.what:36} {collected!s:44} {reported}")
    for problem in snapshot["problems"]:
        print(f"problem: {problem}")
    different = sum(not finding.agrees for finding in findings)
    print(
        f"driver {snapshot['system'].get('driver_version')}: {len(findings)} values compared,",
        end=" ",
    )
    print(f"{different} disagree")
    return min(different, 1)


if __name__ == "__main__":
    sys.exit(main())
