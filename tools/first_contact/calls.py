"""The call table: code, value and duration of each NVML call, with and without privileges."""

import ctypes
import os
import time
from typing import Any

import pynvml

from .load import running_load
from .nvml import answer, code_of, open_gpu, plain
from .nvml_calls import GPU_CALLS, SLICE_CALLS, NvmlCall
from .options import Options
from .record import Recorder, Skipped, Unchecked

CALL_SECONDS = 0.25
"""No call is repeated for longer: some take milliseconds."""
NOBODY = 65534
BUSY_MIB = 1024


def time_calls(record: Recorder, options: Options) -> None:
    """Every call on one GPU, on its first MIG slice, and once on all other GPUs."""
    record.note("uid", os.getuid())
    with open_gpu(record, options.gpu) as handle:
        _fill_table(record, options, "gpu", handle, GPU_CALLS)
        slice_ = answer(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, 0)
        if slice_ is not None:
            _fill_table(record, options, "slice", slice_, SLICE_CALLS)
        for index in range(pynvml.nvmlDeviceGetCount()):
            if index != options.gpu:
                _call_each_once(record, index)


def time_calls_unprivileged(record: Recorder, options: Options) -> None:
    """The same as a user without privileges; the first table has that where we are not root."""
    if os.getuid() != 0:
        raise Skipped("not root: the stage `calls` was without privileges already")
    try:
        ctypes.CDLL("libnvidia-ml.so.1", mode=ctypes.RTLD_GLOBAL)  # may lie in a folder of root's
    except OSError as error:
        raise Unchecked(f"no NVIDIA driver: {error}") from None
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    time_calls(record, options)


def time_calls_busy(record: Recorder, options: Options) -> None:
    """The same while a kernel runs."""
    with running_load(record, options, "heavy", BUSY_MIB):
        time_calls(record, options)


def _fill_table(
    record: Recorder, options: Options, of: str, handle: Any, calls: tuple[NvmlCall, ...]
) -> None:
    for call in calls:
        record.begin(f"{call.name} of the {of}")
        row = {"of": of, "call": call.name, **time_call(call, handle, options.calls)}
        record.add("calls", row)
        if call.needed:
            record.check(f"{call.name} of the {of} answers", row["code"] == 0, row["code"], 0)


def time_call(call: NvmlCall, handle: Any, times: int) -> dict[str, Any]:
    """Code, value, and microseconds: the first call, median and 99th percentile, CPU per call."""
    walls: list[int] = []
    code, value = 0, None
    cpu_before = time.thread_time_ns()
    until = time.monotonic() + CALL_SECONDS
    while len(walls) < times and (not walls or time.monotonic() < until):
        begun = time.perf_counter_ns()
        try:
            value = call.make(handle)
        except pynvml.NVMLError as error:
            code = code_of(error)
        walls.append(time.perf_counter_ns() - begun)
    cpu = time.thread_time_ns() - cpu_before
    ordered = sorted(walls)
    return {
        "code": code,
        "value": plain(value),
        "times": len(walls),
        "first_us": walls[0] / 1000,
        "p50_us": ordered[len(ordered) // 2] / 1000,
        "p99_us": ordered[len(ordered) * 99 // 100] / 1000,
        "cpu_us": round(cpu / len(walls) / 1000, 3),
    }


def _call_each_once(record: Recorder, index: int) -> None:
    record.begin(f"nvmlDeviceGetHandleByIndex of GPU {index}")
    handle = answer(pynvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        record.unchecked(f"GPU {index} cannot be opened")
        return
    for call in GPU_CALLS:
        record.begin(f"{call.name} of GPU {index}")
        record.add("others", {"gpu": index, "call": call.name, **time_call(call, handle, 1)})
