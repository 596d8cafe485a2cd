"""NVML through nvidia-ml-py, and what it tells of a device: plain values, or an NvmlError."""

import _ctypes
import ctypes
from collections.abc import Callable
from typing import Any

import pynvml

from gpu_monitor.collector.gpu.calls import asked, code_of
from gpu_monitor.collector.gpu.gpm_samples import Sample, free_all
from gpu_monitor.collector.gpu.numbers import NUMBERS, Number
from gpu_monitor.collector.gpu.nvml_errors import (
    FUNCTION_NOT_FOUND,
    LIBRARY_NOT_FOUND,
    NOT_FOUND,
    NvmlError,
)
from gpu_monitor.collector.gpu.rows import Rows

WSL_LIBRARY = "/usr/lib/wsl/lib/libnvidia-ml.so.1"
NOT_AVAILABLE = 2**64 - 1
"""NVML's word for a size that the driver does not know (NVML_VALUE_NOT_AVAILABLE)."""
DIRECT = hasattr(pynvml, "_nvmlGetFunctionPointer")
"""Whether the package hands out its C functions: bound once, they cost a third of its wrappers."""

NvmlCall = Callable[[], Any]
_NO_INSTANCE = 0xFFFFFFFF


def open_library() -> None:
    """Load NVML and start it (nvmlInit_v2); NvmlError when there is no driver to talk to."""
    try:
        asked("nvmlInit", pynvml.nvmlInit)
    except NvmlError as error:
        if error.code != LIBRARY_NOT_FOUND or not _loaded_from(WSL_LIBRARY):
            raise
        asked("nvmlInit", pynvml.nvmlInit)


def close_library() -> None:
    """End NVML (nvmlShutdown); every Handle is void then, and every Sample.

    Nothing is said when it was not open.
    """
    free_all()
    try:
        asked("nvmlShutdown", pynvml.nvmlShutdown)
    except NvmlError:
        return


def unload_library() -> None:
    """Let go of the library's file, so that the next opening finds the one that replaced it.

    Only after `close_library`, with no thread in a call.
    """
    library = getattr(pynvml, "nvmlLib", None)
    if library is None or not DIRECT:
        return
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml.nvmlLib = None
    _ctypes.dlclose(library._handle)


def device_count() -> int:
    """How many GPUs the driver counts (nvmlDeviceGetCount_v2)."""
    return int(asked("nvmlDeviceGetCount_v2", pynvml.nvmlDeviceGetCount))


def versions() -> tuple[str | None, str | None]:
    """The driver's version and the newest CUDA version it runs, like ("550.54", "12.4")."""
    try:
        driver = _text(asked("nvmlSystemGetDriverVersion", pynvml.nvmlSystemGetDriverVersion))
    except NvmlError:
        driver = None
    try:
        number = int(
            asked("nvmlSystemGetCudaDriverVersion_v2", pynvml.nvmlSystemGetCudaDriverVersion_v2)
        )
    except NvmlError:
        return driver, None
    return driver, f"{number // 1000}.{number % 1000 // 10}"


class Handle:
    """One device, or one MIG device: what NVML answers about it. One thread at a time.

    Every method asks the driver and may block as long as the driver does; each raises NvmlError.
    """

    def __init__(self, handle: Any, direct: bool = DIRECT) -> None:
        self._handle = handle
        self._direct = direct
        self._lists: dict[str, Rows] = {}

    @property
    def pointer(self) -> Any:
        """What NVML knows this device by (nvmlDevice_t)."""
        return self._handle

    @classmethod
    def by_index(cls, index: int, direct: bool = DIRECT) -> "Handle":
        """The device with this NVML index (nvmlDeviceGetHandleByIndex_v2)."""
        name = "nvmlDeviceGetHandleByIndex_v2"
        return cls(asked(name, pynvml.nvmlDeviceGetHandleByIndex, index), direct)

    @classmethod
    def by_bus_id(cls, bus_id: str, direct: bool = DIRECT) -> "Handle":
        """The device in that place (nvmlDeviceGetHandleByPciBusId_v2)."""
        name = "nvmlDeviceGetHandleByPciBusId_v2"
        return cls(asked(name, pynvml.nvmlDeviceGetHandleByPciBusId, bus_id), direct)

    def index(self) -> int:
        return int(asked("nvmlDeviceGetIndex", pynvml.nvmlDeviceGetIndex, self._handle))

    def uuid(self) -> str:
        return _text(asked("nvmlDeviceGetUUID", pynvml.nvmlDeviceGetUUID, self._handle))

    def name(self) -> str:
        return _text(asked("nvmlDeviceGetName", pynvml.nvmlDeviceGetName, self._handle))

    def pci_bus_id(self) -> str:
        """Like `00000000:3B:00.0` (nvmlDeviceGetPciInfo_v3)."""
        info = asked("nvmlDeviceGetPciInfo_v3", pynvml.nvmlDeviceGetPciInfo, self._handle)
        return _text(info.busId)

    def slowdown_celsius(self) -> int:
        """From this temperature on the hardware slows the GPU down."""
        name = "nvmlDeviceGetTemperatureThreshold"
        threshold = pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        return int(asked(name, pynvml.nvmlDeviceGetTemperatureThreshold, self._handle, threshold))

    def mig_enabled(self) -> bool:
        """Whether the device is divided into MIG instances now (nvmlDeviceGetMigMode)."""
        current, _ = asked("nvmlDeviceGetMigMode", pynvml.nvmlDeviceGetMigMode, self._handle)
        return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)

    def remapped_rows(self) -> tuple[bool, bool]:
        """Whether a faulty row of memory waits for a reset to be remapped, and whether one could
        not be (nvmlDeviceGetRemappedRows; Ampere and newer)."""
        name = "nvmlDeviceGetRemappedRows"
        rows = asked(name, pynvml.nvmlDeviceGetRemappedRows, self._handle)
        return bool(rows[2]), bool(rows[3])

    def retirement_pending(self) -> bool:
        """Whether a faulty page of memory waits for a reset to be retired; older than Ampere."""
        name = "nvmlDeviceGetRetiredPagesPendingStatus"
        pending = asked(name, pynvml.nvmlDeviceGetRetiredPagesPendingStatus, self._handle)
        return bool(pending == pynvml.NVML_FEATURE_ENABLED)

    def uncorrected_errors(self) -> int:
        """Errors of memory that ECC could not correct, since the driver was loaded."""
        name = "nvmlDeviceGetTotalEccErrors"
        kind = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        return int(asked(name, pynvml.nvmlDeviceGetTotalEccErrors, self._handle, *kind))

    def slices(self) -> "list[tuple[int, Handle]]":
        """The device's MIG devices with their index."""
        name = "nvmlDeviceGetMaxMigDeviceCount"
        found = []
        for index in range(asked(name, pynvml.nvmlDeviceGetMaxMigDeviceCount, self._handle)):
            name = "nvmlDeviceGetMigDeviceHandleByIndex"
            try:
                handle = asked(
                    name, pynvml.nvmlDeviceGetMigDeviceHandleByIndex, self._handle, index
                )
            except NvmlError as error:
                if error.code == NOT_FOUND:  # indices of MIG devices have holes
                    continue
                raise
            found.append((index, Handle(handle, self._direct)))
        return found

    def instance(self) -> int:
        """The GPU instance a MIG device belongs to (nvmlDeviceGetGpuInstanceId)."""
        name = "nvmlDeviceGetGpuInstanceId"
        return int(asked(name, pynvml.nvmlDeviceGetGpuInstanceId, self._handle))

    def instance_size(self) -> tuple[int, int, int]:
        """Compute slices, GPU slices and memory in MiB of a MIG device."""
        name = "nvmlDeviceGetAttributes_v2"
        size = asked(name, pynvml.nvmlDeviceGetAttributes_v2, self._handle)
        return size.computeInstanceSliceCount, size.gpuInstanceSliceCount, size.memorySizeMB

    def has_counters(self) -> bool:
        """Whether NVML reads performance counters (GPM) of this GPU, itself no MIG device."""
        name = "nvmlGpmQueryDeviceSupport"
        return bool(asked(name, pynvml.nvmlGpmQueryDeviceSupport, self._handle).isSupportedDevice)

    def sample(self, instance: int, sample: Sample) -> Sample:
        """`sample`, filled with the counters that one of its GPU instances has now."""
        name = "nvmlGpmMigSampleGet"
        asked(name, pynvml.nvmlGpmMigSampleGet, self._handle, instance, sample.buffer())
        return sample

    def number(self, key: str) -> tuple[str, NvmlCall]:
        """The function for one of NUMBERS, bound to this device, with its C name."""
        number = NUMBERS[key]
        return number.names[0], self._bind(number)

    def processes(self, kind: str) -> list[tuple[int, int | None, int | None]]:
        """(pid, bytes or None, GPU instance or None) of each process.

        `kind` is Compute, MPSCompute or Graphics: NVML has a list for each.
        """
        if not self._direct:
            return self._wrapped_processes(kind)
        return (self._lists.get(kind) or self._process_rows(kind)).read()

    def process_utilization(self, since: int) -> list[tuple[int, int, int]]:
        """(pid, time, SM percent) of the samples the driver took after the time `since`.

        Times are the driver's, in microseconds. NvmlError NOT_FOUND when there is none.
        """
        name = "nvmlDeviceGetProcessUtilization"
        if not self._direct:
            found = asked(name, pynvml.nvmlDeviceGetProcessUtilization, self._handle, since)
            return [(row.pid, row.timeStamp, row.smUtil) for row in found]
        if name not in self._lists:
            handle, (_, function) = self._handle, _function((name,))
            self._lists[name] = Rows(
                name,
                pynvml.c_nvmlProcessUtilizationSample_t,
                lambda rows, count, after: function(handle, rows, count, after),
                lambda row: row[:3],
            )
        return self._lists[name].read(ctypes.c_ulonglong(since))

    def _process_rows(self, kind: str) -> Rows:
        names = [f"nvmlDeviceGet{kind}RunningProcesses{version}" for version in ("_v3", "_v2")]
        handle, (name, function) = self._handle, _function(tuple(names))
        self._lists[kind] = Rows(
            name,
            pynvml.c_nvmlProcessInfo_v2_t,
            lambda rows, count: function(handle, count, rows),
            lambda row: (row[0], _size(row[1]), _instance(row[2])),
        )
        return self._lists[kind]

    def _wrapped_processes(self, kind: str) -> list[tuple[int, int | None, int | None]]:
        name = f"nvmlDeviceGet{kind}RunningProcesses_v3"
        found = asked(name, getattr(pynvml, name), self._handle)
        return [(row.pid, _size(row.usedGpuMemory), _instance(row.gpuInstanceId)) for row in found]

    def _bind(self, number: Number) -> NvmlCall:
        if not self._direct:
            return self._wrapped(number)
        name, function = _function(number.names)
        handle, pick = self._handle, number.pick
        arguments = tuple(map(ctypes.c_uint, number.arguments))
        buffer = _buffer(number.into)
        reference = ctypes.byref(buffer)
        simple = pick is int

        def call() -> Any:
            if code := function(handle, *arguments, reference):
                raise NvmlError(code, name)
            return buffer.value if simple else pick(buffer)

        return call

    def _wrapped(self, number: Number) -> NvmlCall:
        name = number.names[-1]
        arguments = number.arguments
        if name == "nvmlDeviceGetMemoryInfo_v2":
            wrapper, arguments = pynvml.nvmlDeviceGetMemoryInfo, (pynvml.nvmlMemory_v2,)
        else:
            wrapper = getattr(pynvml, name)
        return lambda: number.pick(asked(name, wrapper, self._handle, *arguments))


def _buffer(kind: str) -> Any:
    """What a function writes into: a struct of the package, or a plain C number."""
    buffer = (getattr(ctypes, kind, None) or getattr(pynvml, kind))()
    if kind == "c_nvmlMemory_v2_t":
        buffer.version = pynvml.nvmlMemory_v2
    return buffer


def _function(names: tuple[str, ...]) -> tuple[str, Any]:
    """The first of `names` that the library has."""
    for name in names:
        try:
            return name, pynvml._nvmlGetFunctionPointer(name)
        except pynvml.NVMLError as error:
            if code_of(error) != FUNCTION_NOT_FOUND:
                raise NvmlError(code_of(error), name) from None
    raise NvmlError(FUNCTION_NOT_FOUND, names[0])


def _size(size: int | None) -> int | None:
    return None if size == NOT_AVAILABLE else size


def _instance(instance: int | None) -> int | None:
    return None if instance == _NO_INSTANCE else instance


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _loaded_from(path: str) -> bool:
    """Load a library by path; the package's own load by name finds it then, being the same."""
    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
