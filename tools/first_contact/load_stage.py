"""A load of known size beside the real collector: pids, memory, shares, power, and the end."""

import time
from contextlib import ExitStack
from statistics import mean
from typing import Any

import pynvml

from gpu_monitor.collector.host.processes import sees_host_pids

from .collector import Collector, gpu_row, process_rows, running_collector
from .columns import compare_with_smi
from .load import Load, running_loads
from .nvml import open_gpu
from .options import Options
from .record import Recorder, Unchecked

SHARES = {"matmul": 0.25, "part": 0.0625, "idle": 0.025}
"""Of the GPU's free memory; on 80 GB these are 20, 5 and 2 GB."""
CONTEXT_MIB = 2048
"""The most that CUDA, torch and their kernels take beside the allocated memory."""
MEMORY_MIB = 64
SECONDS = 6.0
GONE_SECONDS = 6.0
BUSY_PERCENT = 90

Rows = dict[int, dict[str, Any]]
"""The processes on the GPU, by pid."""


def follow_load(record: Recorder, options: Options) -> None:
    """Three loads start, run, and are killed while the collector watches."""
    free = _free_mib(record, options)
    with running_collector(record) as collector, ExitStack() as stack:
        before = collector.settle()
        sizes = {kind: int(free * share) for kind, share in SHARES.items()}
        loads = stack.enter_context(running_loads(record, options, sizes))
        record.begin("beside the loads")
        collector.snapshots(2)  # first shares of a process are unknown
        snapshots = collector.snapshots(options.seconds(SECONDS))
        rows = [process_rows(each, gpu_row(each, options.gpu)["row"]) for each in snapshots]
        record.note("processes", rows[-1])
        pids = {load.kind: load.pid for load in loads}
        if not sees_host_pids() and not rows[-1].keys() >= set(pids.values()):
            record.unchecked("pids: in a pid namespace of our own they differ from the driver's")
            pids |= pids_by_memory(rows[-1], sizes)
        check_processes(record, rows[-1], loads, pids)
        check_shares(record, rows, pids)
        check_gpu(record, options, before, snapshots)
        try:
            compare_with_smi(record, options, collector)
        except Unchecked as reason:
            record.unchecked(str(reason))
        for load in loads:
            load.kill()
        check_end(record, options, before, collector, set(pids.values()))


def pids_by_memory(rows: Rows, sizes: dict[str, int]) -> dict[str, int]:
    """The pid of each kind of load as the driver lists it, found by its MiB: the largest process is
    the largest load."""
    processes = sorted(rows, key=lambda pid: rows[pid]["gpu_memory_mib"] or 0, reverse=True)
    kinds = sorted(sizes, key=lambda kind: sizes[kind], reverse=True)
    return dict(zip(kinds, processes, strict=False))


def check_processes(record: Recorder, rows: Rows, loads: list[Load], pids: dict[str, int]) -> None:
    """Each load has a row with its pid and the memory that it allocated."""
    overheads = []
    for load in loads:
        row = rows.get(pids[load.kind])
        record.check(
            f"the load {load.kind} is listed", row is not None, row, f"pid {pids[load.kind]}"
        )
        if row is not None:
            seen, allocated = row["gpu_memory_mib"], load.ready["allocated_mib"]
            over = None if seen is None else seen - allocated
            good = over is not None and 0 <= over <= CONTEXT_MIB
            expected = [allocated, allocated + CONTEXT_MIB]
            record.check(f"memory of the load {load.kind} (MiB)", good, seen, expected)
            if over is not None and load.ready["engine"] == "cuda":
                overheads.append(over)
    if len(overheads) > 1:
        apart = max(overheads) - min(overheads)
        what = "equal contexts differ by (MiB)"
        record.check(what, apart <= MEMORY_MIB, apart, f"<= {MEMORY_MIB}")


def check_shares(record: Recorder, seconds: list[Rows], pids: dict[str, int]) -> None:
    """The mean share of each load, of those seconds in which it is known."""
    shares = {}
    for kind, pid in pids.items():
        known = [
            rows[pid]["sm_utilization_percent"]
            for rows in seconds
            if pid in rows and rows[pid]["sm_utilization_percent"] is not None
        ]
        if not known:
            record.unchecked(f"no SM share of the load {kind}")
            return
        shares[kind] = mean(known)
    record.note("shares", shares)
    ordered = shares["matmul"] > shares["part"] > shares["idle"]
    record.check("shares are in the loads' order (%)", ordered, shares, "matmul > part > idle")
    record.check("an idle process has no share (%)", shares["idle"] <= 1, shares["idle"], 0)


def check_gpu(
    record: Recorder, options: Options, before: dict[str, Any], snapshots: list[dict[str, Any]]
) -> None:
    """Utilization and power of the whole GPU; it is not idle, and not stalled."""
    rows = [gpu_row(snapshot, options.gpu) for snapshot in snapshots]
    last, idle = rows[-1], gpu_row(before, options.gpu)
    record.note("gpu", [{k: v for k, v in row.items() if k != "row"} for row in rows])
    used = last["utilization_percent"]
    record.check("utilization (%)", (used or 0) >= BUSY_PERCENT, used, f">= {BUSY_PERCENT}")
    more = (last["power_watts"] or 0) > (idle["power_watts"] or 0)
    record.check("power rises (W)", more, last["power_watts"], f"> {idle['power_watts']}")
    record.check("a working GPU is not idle", last["idle_since"] is None, last["idle_since"], None)
    held = sum(
        row["gpu_memory_mib"] or 0 for row in process_rows(snapshots[-1], last["row"]).values()
    )
    seen = last["memory_used_mib"]
    good = seen is not None and seen >= held - MEMORY_MIB
    record.check("used memory is its processes' at least (MiB)", good, seen, f">= {held}")


def check_end(
    record: Recorder,
    options: Options,
    before: dict[str, Any],
    collector: Collector,
    pids: set[int],
) -> None:
    """After SIGKILL rows and memory go, and the GPU becomes idle, within seconds."""
    record.begin("after the loads were killed")
    idle = gpu_row(before, options.gpu)["memory_used_mib"] or 0
    begun = time.monotonic()
    while True:
        snapshot = collector.next_snapshot()
        row = gpu_row(snapshot, options.gpu)
        left = pids & process_rows(snapshot, row["row"]).keys()
        used, passed = row["memory_used_mib"], time.monotonic() - begun
        settled = used is not None and used <= idle + MEMORY_MIB and not row["utilization_percent"]
        if (settled and not left) or passed > GONE_SECONDS:
            break
    record.note("end", {"seconds": round(passed, 2), "gpu": row})
    record.check("rows of killed processes go", not left, sorted(left), [])
    freed = used is not None and used <= idle + MEMORY_MIB
    record.check("memory is free again (MiB)", freed, used, f"<= {idle + MEMORY_MIB}")
    since = row["idle_since"]
    record.check("the GPU is idle again", since is not None, since, "a time")


def _free_mib(record: Recorder, options: Options) -> int:
    with open_gpu(record, options.gpu) as handle:
        try:
            return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free) >> 20
        except pynvml.NVMLError as error:
            raise Unchecked(f"the GPU's memory is not known: {error}") from None
