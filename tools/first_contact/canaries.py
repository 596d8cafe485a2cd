"""How many bytes the driver writes into each struct: more than its declaration is an overflow."""

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import pynvml

from .load import start_load_if_possible
from .nvml import open_gpu
from .options import Options
from .record import Recorder

CANARY_BYTES = 256
FILLS = (0xA5, 0x5A)
"""Two, because a byte that the driver writes may equal one of them."""
LIST_ROWS = 64
LOAD_MIB = 256


class Canary(NamedTuple):
    """A C function and the struct that it fills; `version` is the word it wants in front, if any.

    `call` is given function, handle and buffer, and returns NVML's code.
    """

    function: str
    size: int
    call: Callable[[Any, Any, Any], int]
    version: int = 0


def _into(function: Any, handle: Any, buffer: Any) -> int:
    return int(function(handle, buffer))


def _text(size: int) -> Callable[[Any, Any, Any], int]:
    return lambda function, handle, buffer: int(function(handle, buffer, ctypes.c_uint(size)))


def _struct(function: str, struct: Any, version: int = 0) -> Canary:
    return Canary(function, ctypes.sizeof(struct), _into, version)


UUID_BYTES, NAME_BYTES = (
    pynvml.NVML_DEVICE_UUID_V2_BUFFER_SIZE,
    pynvml.NVML_DEVICE_NAME_V2_BUFFER_SIZE,
)
CANARIES = (
    _struct("nvmlDeviceGetMemoryInfo", pynvml.c_nvmlMemory_t),
    _struct("nvmlDeviceGetMemoryInfo_v2", pynvml.c_nvmlMemory_v2_t, pynvml.nvmlMemory_v2),
    _struct("nvmlDeviceGetUtilizationRates", pynvml.c_nvmlUtilization_t),
    _struct("nvmlDeviceGetPciInfo_v3", pynvml.nvmlPciInfo_t),
    _struct("nvmlDeviceGetPowerUsage", ctypes.c_uint),
    _struct("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong),
    _struct("nvmlDeviceGetFanSpeed", ctypes.c_uint),
    _struct("nvmlDeviceGetComputeMode", ctypes.c_uint),
    _struct("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong),
    _struct("nvmlDeviceGetAttributes_v2", pynvml.c_nvmlDeviceAttributes),
    _struct(
        "nvmlDeviceGetMarginTemperature",
        pynvml.c_nvmlMarginTemperature_v1_t,
        pynvml.nvmlMarginTemperature_v1,
    ),
    _struct(
        "nvmlGpmQueryDeviceSupport", pynvml.c_nvmlGpmSupport_t, pynvml.NVML_GPM_SUPPORT_VERSION
    ),
    Canary(
        "nvmlDeviceGetFieldValues",
        ctypes.sizeof(pynvml.c_nvmlFieldValue_t),
        lambda function, handle, buffer: int(function(handle, ctypes.c_int(1), buffer)),
        pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    ),
    Canary("nvmlDeviceGetUUID", UUID_BYTES, _text(UUID_BYTES)),
    Canary("nvmlDeviceGetName", NAME_BYTES, _text(NAME_BYTES)),
)
LISTS = (
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
)
ROW_BYTES = ctypes.sizeof(pynvml.c_nvmlProcessInfo_v2_t)
WIDEST_ROW_BYTES = 32
"""Drivers 535.43 to 535.86 write this much per process."""


def measure_writes(record: Recorder, options: Options) -> None:
    """Each struct, then the process lists, with a process to list where one can be started."""
    with (
        start_load_if_possible(record, options, "part", LOAD_MIB),
        open_gpu(record, options.gpu) as handle,
    ):
        for canary in CANARIES:
            _measure_struct(record, handle, canary)
        for name in LISTS:
            _measure_list(record, handle, name)
        _measure_samples(record, handle)


def bytes_written(size: int, version: int, fill: Callable[[Any], int]) -> tuple[int, int]:
    """NVML's code, and the end of what `fill` wrote into a buffer with canaries behind `size`."""
    code = end = 0
    for canary in FILLS:
        before = bytes([canary]) * (size + CANARY_BYTES)
        if version:
            before = version.to_bytes(4, "little") + before[4:]
        buffer = ctypes.create_string_buffer(before, len(before))
        code = fill(buffer)
        changed = [
            at for at, (old, new) in enumerate(zip(before, buffer.raw, strict=True)) if old != new
        ]
        end = max(end, changed[-1] + 1 if changed else 0)
    return code, end


def _measure_struct(record: Recorder, handle: Any, canary: Canary) -> None:
    record.begin(canary.function)
    function = getattr(pynvml.nvmlLib, canary.function, None)
    if function is None:
        record.add("structs", {"function": canary.function, "code": None})
        return
    code, end = bytes_written(
        canary.size, canary.version, lambda buffer: canary.call(function, handle, buffer)
    )
    row = {"function": canary.function, "code": code, "size": canary.size, "written": end}
    record.add("structs", row)
    what = f"{canary.function} writes no further than its struct"
    record.check(what, end <= canary.size, end, f"<= {canary.size}")


def _measure_list(record: Recorder, handle: Any, name: str) -> None:
    _measure_rows(
        record,
        name,
        ROW_BYTES,
        lambda function, count, buffer: int(function(handle, ctypes.byref(count), buffer)),
    )


def _measure_samples(record: Recorder, handle: Any) -> None:
    since = ctypes.c_ulonglong(0)
    _measure_rows(
        record,
        "nvmlDeviceGetProcessUtilization",
        ctypes.sizeof(pynvml.c_nvmlProcessUtilizationSample_t),
        lambda function, count, buffer: int(function(handle, buffer, ctypes.byref(count), since)),
    )


def _measure_rows(
    record: Recorder, name: str, row_bytes: int, call: Callable[[Any, Any, Any], int]
) -> None:
    """A function that fills rows, as many as it puts into the count."""
    record.begin(name)
    function = getattr(pynvml.nvmlLib, name, None)
    if function is None:
        record.add("lists", {"function": name, "code": None})
        return
    count = ctypes.c_uint()

    def fill(buffer: Any) -> int:
        count.value = LIST_ROWS
        return call(function, count, buffer)

    code, end = bytes_written(LIST_ROWS * max(WIDEST_ROW_BYTES, row_bytes), 0, fill)
    rows = count.value if code == 0 else 0
    record.add("lists", {"function": name, "code": code, "rows": rows, "written": end})
    expected = rows * row_bytes
    record.check(f"{name} writes {row_bytes} bytes a row", end <= expected, end, f"<= {expected}")
