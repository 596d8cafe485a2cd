"""What NVML reports about one GPU or MIG slice, through nvidia-ml-py.

Values are as NVML gives them; `plausible` says which of them can be true.
"""

import ctypes
import struct
from typing import Any

import pynvml

from gpu_monitor.collector.gpu.nvml_arrays import (
    WIDEST_ROW_BYTES,
    ArrayReader,
    Row,
    c_function,
    layout,
)
from gpu_monitor.collector.gpu.nvml_errors import (
    FATAL,
    FUNCTION_NOT_FOUND,
    INVALID_ARGUMENT,
    NOT_FOUND,
    TOO_OLD,
    NvmlError,
)
from gpu_monitor.collector.gpu.queries import Trace

NOT_AVAILABLE = 2**64 - 1
"""A size that the driver does not know (NVML_VALUE_NOT_AVAILABLE)."""
_RECOVERY_ACTION_FIELD = 230
"""NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, by its number: older nvidia-ml-py does not name it."""
_NO_INSTANCE = 0xFFFFFFFF
"""The GPU instance of a process on a GPU that is not divided."""
_MAX_PID = 1 << 22
"""The kernel's limit on 64-bit machines (PID_MAX_LIMIT)."""
_MAX_INSTANCE = 1 << 16
_NO_SUCH_SLICE = frozenset({NOT_FOUND, INVALID_ARGUMENT})
"""Answers about an index that no slice has; NVIDIA's k8s-device-plugin skips the same two."""


class Handle:
    """One GPU or MIG slice, for one thread at a time.

    `pointer` is NVML's own handle of it (nvmlDevice_t), `trace` names the call that is running.
    Each method may block for as long as the driver does, and raises NvmlError.
    """

    def __init__(self, pointer: Any, trace: Trace) -> None:
        self.pointer = pointer
        self.trace = trace
        self._throttle_reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons
        self._knows_reserve = True
        self._arrays: dict[str, ArrayReader] = {}

    @classmethod
    def by_index(cls, index: int, trace: Trace) -> "Handle":
        """The GPU with this NVML index; opening it wakes it up."""
        return cls(trace.call(pynvml.nvmlDeviceGetHandleByIndex, index), trace)

    @classmethod
    def by_bus_id(cls, bus_id: str, trace: Trace) -> "Handle":
        """The GPU at this place on the PCI bus; opening it wakes it up."""
        return cls(trace.call(pynvml.nvmlDeviceGetHandleByPciBusId, bus_id), trace)

    def _call(self, wrapper: Any, *arguments: Any) -> Any:
        return self.trace.call(wrapper, self.pointer, *arguments)

    def index(self) -> int:
        return int(self._call(pynvml.nvmlDeviceGetIndex))

    def uuid(self) -> str:
        return _text(self._call(pynvml.nvmlDeviceGetUUID))

    def name(self) -> str:
        return _text(self._call(pynvml.nvmlDeviceGetName))

    def pci_bus_id(self) -> str:
        """Like `00000000:3B:00.0`."""
        return _text(self._call(pynvml.nvmlDeviceGetPciInfo).busId)

    def memory(self) -> tuple[int, int]:
        """Total and used bytes, used without the driver's reserve; with it before driver 510."""
        if self._knows_reserve:
            try:
                info = self._call(pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlMemory_v2)
                return info.total, info.used
            except NvmlError as error:
                if error.code not in TOO_OLD:
                    raise
            self._knows_reserve = False
        return self.memory_with_reserve()

    def memory_with_reserve(self) -> tuple[int, int]:
        """Total and used bytes, used including the driver's reserve."""
        info = self._call(pynvml.nvmlDeviceGetMemoryInfo)
        return info.total, info.used

    def utilization(self) -> tuple[int, int]:
        """Percent of the last sample period in which a kernel ran, and in which memory was read or
        written."""
        rates = self._call(pynvml.nvmlDeviceGetUtilizationRates)
        return rates.gpu, rates.memory

    def temperature(self) -> int:
        """Degrees Celsius of the chip."""
        return int(self._call(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU))

    def slowdown_temperature(self) -> int:
        """Degrees Celsius at which the hardware slows the GPU down; not on some GPUs since Ada."""
        threshold = pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        return int(self._call(pynvml.nvmlDeviceGetTemperatureThreshold, threshold))

    def slowdown_margin(self) -> int:
        """How many degrees Celsius the GPU is below that temperature; driver 570 and newer.

        The driver counts down to the highest operating temperature (T.Limit), and slows the GPU
        down some degrees beyond it, at a T.Limit of -2, for example.
        """
        wrapper = getattr(pynvml, "nvmlDeviceGetMarginTemperature", None)
        if wrapper is None:
            raise NvmlError(FUNCTION_NOT_FOUND, "nvmlDeviceGetMarginTemperature")
        margin = int(self._call(wrapper))
        try:
            return margin - int(self._field(pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT).siVal)
        except NvmlError as error:
            if error.code in FATAL:
                raise
            return margin

    def power(self) -> int:
        """Milliwatts drawn."""
        return int(self._call(pynvml.nvmlDeviceGetPowerUsage))

    def power_limit(self) -> int:
        """Milliwatts that the GPU may draw, by the lowest of all limits in force."""
        return int(self._call(pynvml.nvmlDeviceGetEnforcedPowerLimit))

    def energy(self) -> int:
        """Millijoules since the driver was loaded; Volta and newer."""
        return int(self._call(pynvml.nvmlDeviceGetTotalEnergyConsumption))

    def throttle_reasons(self) -> int:
        """Bits for what holds the clocks down, by the function's old name on older drivers."""
        try:
            return int(self._call(self._throttle_reasons))
        except NvmlError as error:
            old = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons
            if error.code != FUNCTION_NOT_FOUND or self._throttle_reasons is old:
                raise
            self._throttle_reasons = old
        return int(self._call(old))

    def fan(self) -> int:
        """Percent of the fan's maximum speed."""
        return int(self._call(pynvml.nvmlDeviceGetFanSpeed))

    def sm_clock(self) -> int:
        """MHz."""
        return int(self._call(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM))

    def memory_clock(self) -> int:
        """MHz."""
        return int(self._call(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM))

    def remapped_rows(self) -> tuple[bool, bool]:
        """Whether a faulty memory row waits for a reset to be remapped, and whether remapping one
        has failed; Ampere and newer."""
        rows = self._call(pynvml.nvmlDeviceGetRemappedRows)
        return bool(rows[2]), bool(rows[3])

    def retirement_pending(self) -> bool:
        """Whether a faulty memory page waits for a reset to be retired; older than Ampere."""
        pending = self._call(pynvml.nvmlDeviceGetRetiredPagesPendingStatus)
        return bool(pending == pynvml.NVML_FEATURE_ENABLED)

    def uncorrected_errors(self) -> int:
        """Uncorrected ECC errors since the driver was loaded, in memory and in caches."""
        kind = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        return int(self._call(pynvml.nvmlDeviceGetTotalEccErrors, *kind))

    def recovery_action(self) -> int:
        """What the driver recommends to repair the GPU (nvmlDeviceGpuRecoveryAction_t), 0 for
        nothing; driver 570 and newer."""
        return int(self._field(_RECOVERY_ACTION_FIELD).uiVal)

    def compute_mode(self) -> int:
        """Which processes may use the GPU (nvmlComputeMode_t)."""
        return int(self._call(pynvml.nvmlDeviceGetComputeMode))

    def numa_node(self) -> int:
        """The NUMA node that the GPU's own memory is (GH200, GB200); elsewhere not supported."""
        wrapper = getattr(pynvml, "nvmlDeviceGetNumaNodeId", None)
        if wrapper is None:
            raise NvmlError(FUNCTION_NOT_FOUND, "nvmlDeviceGetNumaNodeId")
        return int(self._call(wrapper))

    def mig_enabled(self) -> bool:
        """Whether the GPU is in MIG mode now, which pending changes do not alter."""
        current, _ = self._call(pynvml.nvmlDeviceGetMigMode)
        return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)

    def _field(self, field: int) -> Any:
        """One of nvmlDeviceGetFieldValues, as the union of the types that it may have."""
        (answer,) = self._call(pynvml.nvmlDeviceGetFieldValues, [field])
        if answer.nvmlReturn:
            raise NvmlError(int(answer.nvmlReturn), pynvml.nvmlDeviceGetFieldValues.__name__)
        return answer.value

    def slices(self) -> "list[tuple[int, Handle]]":
        """The GPU's MIG slices with their NVML index; indices may have gaps.

        A slice that cannot be opened is left out; NvmlError when that is all of them.
        """
        found = []
        failure: NvmlError | None = None
        for index in range(self._call(pynvml.nvmlDeviceGetMaxMigDeviceCount)):
            try:
                pointer = self._call(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, index)
            except NvmlError as error:
                if error.code in FATAL:
                    raise
                failure = failure if error.code in _NO_SUCH_SLICE else error
                continue
            found.append((index, Handle(pointer, self.trace)))
        if failure is not None and not found:
            raise failure
        return found

    def gpu_instance(self) -> int:
        """The id of the GPU instance that a MIG slice belongs to."""
        return int(self._call(pynvml.nvmlDeviceGetGpuInstanceId))

    def slice_size(self) -> tuple[int, int, int]:
        """Compute slices, GPU slices and memory in MiB of a MIG slice."""
        size = self._call(pynvml.nvmlDeviceGetAttributes_v2)
        return size.computeInstanceSliceCount, size.gpuInstanceSliceCount, size.memorySizeMB

    def has_gpm(self) -> bool:
        """Whether NVML reads performance counters (GPM) of this GPU; not for a MIG slice."""
        return bool(self._call(pynvml.nvmlGpmQueryDeviceSupport).isSupportedDevice)

    def compute_processes(self) -> list[tuple[int, int | None, int | None]]:
        """(pid, bytes or None, GPU instance or None) of each process with a compute context."""
        return self._processes(pynvml.nvmlDeviceGetComputeRunningProcesses_v3)

    def mps_processes(self) -> list[tuple[int, int | None, int | None]]:
        """The same for clients of MPS, which share one context."""
        return self._processes(pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3)

    def graphics_processes(self) -> list[tuple[int, int | None, int | None]]:
        """The same for processes with a graphics context."""
        return self._processes(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3)

    def _processes(self, wrapper: Any) -> list[tuple[int, int | None, int | None]]:
        """Drivers before 510 have version 2 of the function, with the same rows.

        Some drivers (535.43 to 535.86) write rows with another field at their end, of 32 bytes.
        """
        name = wrapper.__name__
        array = self._arrays.get(name)
        if array is None:
            pointer, function = self.pointer, c_function(name, f"{name.removesuffix('_v3')}_v2")
            array = self._arrays[name] = ArrayReader(
                function.__name__,
                _process_layouts(),
                lambda rows, count: function(pointer, count, rows),
                lambda row: (row[0], _size(row[1]), _instance(row[2])),
                _is_process,
            )
        self.trace.function = array.name
        return array.fetch()

    def process_utilization(self, since: int) -> list[tuple[int, int, int]]:
        """(pid, time, SM percent) of the samples that the driver took after the time `since`.

        Times are the driver's, in microseconds. NvmlError NOT_FOUND when there is none.
        """
        name = pynvml.nvmlDeviceGetProcessUtilization.__name__
        array = self._arrays.get(name)
        if array is None:
            pointer, function = self.pointer, c_function(name)
            array = self._arrays[name] = ArrayReader(
                function.__name__,
                (layout(pynvml.c_nvmlProcessUtilizationSample_t),),
                lambda rows, count, after: function(pointer, rows, count, after),
                lambda row: row[:3],
            )
        self.trace.function = array.name
        return array.fetch(ctypes.c_ulonglong(since))


def _process_layouts() -> tuple[struct.Struct, ...]:
    rows = pynvml.c_nvmlProcessInfo_v2_t
    return layout(rows), layout(rows, WIDEST_ROW_BYTES)


def _is_process(row: Row) -> bool:
    """Whether a row of a process list can be one, with a pid and instances that there may be."""
    pid, _, *instances = row
    return pid <= _MAX_PID and all(
        instance == _NO_INSTANCE or instance < _MAX_INSTANCE for instance in instances
    )


def _size(size: int) -> int | None:
    return None if size == NOT_AVAILABLE else size


def _instance(instance: int) -> int | None:
    return None if instance == _NO_INSTANCE else instance


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
