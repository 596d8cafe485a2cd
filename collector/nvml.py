"""NVML through nvidia-ml-py, the only import of pynvml: plain values, or an NvmlError."""

import _ctypes
import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from collector.failures import (
    FUNCTION_NOT_FOUND,
    INSUFFICIENT_SIZE,
    LIBRARY_NOT_FOUND,
    NOT_FOUND,
    UNKNOWN,
    NvmlError,
)

WSL_LIBRARY = "/usr/lib/wsl/lib/libnvidia-ml.so.1"
NOT_AVAILABLE = 2**64 - 1
"""NVML's word for a size that the driver does not know (NVML_VALUE_NOT_AVAILABLE)."""
DIRECT = hasattr(pynvml, "_nvmlGetFunctionPointer")
"""Whether the package hands out its C functions: bound once, they cost a third of its wrappers."""

Result = TypeVar("Result")
NvmlCall = Callable[[], Any]
_FIRST_ROWS = 64
"""Room for this many processes is offered first, so that most lists take one call."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A function of NVML that writes one value for one device.

    `names` are the function's C names, newest first: the first that the library has is called.
    """

    names: tuple[str, ...]
    into: Any = ctypes.c_uint
    arguments: tuple[int, ...] = ()
    pick: Callable[[Any], Any] = int


def _total_and_used(memory: Any) -> tuple[int, int]:
    return memory.total, memory.used


def _gpu_and_memory(rates: Any) -> tuple[int, int]:
    return rates.gpu, rates.memory


def _memory_v2() -> Any:
    memory = pynvml.c_nvmlMemory_v2_t()
    memory.version = pynvml.nvmlMemory_v2
    return memory


NUMBERS = {
    "memory": _Number(("nvmlDeviceGetMemoryInfo_v2",), _memory_v2, (), _total_and_used),
    "memory_v1": _Number(("nvmlDeviceGetMemoryInfo",), pynvml.c_nvmlMemory_t, (), _total_and_used),
    "utilization": _Number(
        ("nvmlDeviceGetUtilizationRates",), pynvml.c_nvmlUtilization_t, (), _gpu_and_memory
    ),
    "temperature": _Number(("nvmlDeviceGetTemperature",), arguments=(pynvml.NVML_TEMPERATURE_GPU,)),
    "power": _Number(("nvmlDeviceGetPowerUsage",)),
    "throttle": _Number(
        ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
        ctypes.c_ulonglong,
    ),
    "fan": _Number(("nvmlDeviceGetFanSpeed",)),
    "power_limit": _Number(("nvmlDeviceGetEnforcedPowerLimit",)),
    "sm_clock": _Number(("nvmlDeviceGetClockInfo",), arguments=(pynvml.NVML_CLOCK_SM,)),
    "memory_clock": _Number(("nvmlDeviceGetClockInfo",), arguments=(pynvml.NVML_CLOCK_MEM,)),
}
"""What is read of a device again and again. Memory `used` is without the driver's reserve, but
for `memory_v1`; utilization is (GPU, memory controller) in percent; power is in milliwatts."""


def open_library() -> None:
    """Load NVML and start it (nvmlInit_v2); NvmlError when there is no driver to talk to."""
    try:
        _asked("nvmlInit", pynvml.nvmlInit)
    except NvmlError as error:
        if error.code != LIBRARY_NOT_FOUND or not _loaded_from(WSL_LIBRARY):
            raise
        _asked("nvmlInit", pynvml.nvmlInit)


def close_library() -> None:
    """End NVML (nvmlShutdown); every Handle is void then. Nothing is said when it was not open."""
    try:
        _asked("nvmlShutdown", pynvml.nvmlShutdown)
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
    return int(_asked("nvmlDeviceGetCount_v2", pynvml.nvmlDeviceGetCount))


def versions() -> tuple[str | None, str | None]:
    """The driver's version and the newest CUDA version it runs, like ("550.54", "12.4")."""
    try:
        driver = _text(_asked("nvmlSystemGetDriverVersion", pynvml.nvmlSystemGetDriverVersion))
    except NvmlError:
        driver = None
    try:
        number = int(
            _asked("nvmlSystemGetCudaDriverVersion_v2", pynvml.nvmlSystemGetCudaDriverVersion_v2)
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
        self._lists: dict[str, Callable[..., Any]] = {}

    @classmethod
    def by_index(cls, index: int, direct: bool = DIRECT) -> "Handle":
        """The device with this NVML index (nvmlDeviceGetHandleByIndex_v2)."""
        name = "nvmlDeviceGetHandleByIndex_v2"
        return cls(_asked(name, pynvml.nvmlDeviceGetHandleByIndex, index), direct)

    def uuid(self) -> str:
        return _text(_asked("nvmlDeviceGetUUID", pynvml.nvmlDeviceGetUUID, self._handle))

    def name(self) -> str:
        return _text(_asked("nvmlDeviceGetName", pynvml.nvmlDeviceGetName, self._handle))

    def pci_bus_id(self) -> str:
        """Like `00000000:3B:00.0` (nvmlDeviceGetPciInfo_v3)."""
        info = _asked("nvmlDeviceGetPciInfo_v3", pynvml.nvmlDeviceGetPciInfo, self._handle)
        return _text(info.busId)

    def slowdown_celsius(self) -> int:
        """From this temperature on the hardware slows the GPU down."""
        name = "nvmlDeviceGetTemperatureThreshold"
        threshold = pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        return int(_asked(name, pynvml.nvmlDeviceGetTemperatureThreshold, self._handle, threshold))

    def mig_enabled(self) -> bool:
        """Whether the device is divided into MIG instances now (nvmlDeviceGetMigMode)."""
        current, _ = _asked("nvmlDeviceGetMigMode", pynvml.nvmlDeviceGetMigMode, self._handle)
        return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)

    def slices(self) -> "list[tuple[int, Handle]]":
        """The device's MIG devices with their index."""
        name = "nvmlDeviceGetMaxMigDeviceCount"
        found = []
        for index in range(_asked(name, pynvml.nvmlDeviceGetMaxMigDeviceCount, self._handle)):
            name = "nvmlDeviceGetMigDeviceHandleByIndex"
            try:
                handle = _asked(
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
        return int(_asked(name, pynvml.nvmlDeviceGetGpuInstanceId, self._handle))

    def instance_size(self) -> tuple[int, int, int]:
        """Compute slices, GPU slices and memory in MiB of a MIG device."""
        name = "nvmlDeviceGetAttributes_v2"
        size = _asked(name, pynvml.nvmlDeviceGetAttributes_v2, self._handle)
        return size.computeInstanceSliceCount, size.gpuInstanceSliceCount, size.memorySizeMB

    def number(self, key: str) -> tuple[str, NvmlCall]:
        """The function for one of NUMBERS, bound to this device, with its C name."""
        number = NUMBERS[key]
        return number.names[0], self._bind(number)

    def processes(self, kind: str) -> list[tuple[int, int | None, int | None]]:
        """(pid, bytes or None, GPU instance or None) of all `Compute` or `Graphics` processes."""
        if kind not in self._lists:
            names = [f"nvmlDeviceGet{kind}RunningProcesses{version}" for version in ("_v3", "_v2")]
            self._lists[kind] = self._process_list(names)
        instances = (0xFFFFFFFF, None)
        return [
            (
                row.pid,
                None if row.usedGpuMemory in (None, NOT_AVAILABLE) else row.usedGpuMemory,
                None if row.gpuInstanceId in instances else row.gpuInstanceId,
            )
            for row in self._lists[kind]()
        ]

    def process_utilization(self, since: int) -> list[tuple[int, int, int]]:
        """(pid, time, SM percent) of the samples the driver took after the time `since`.

        Times are the driver's, in microseconds. NvmlError NOT_FOUND when there is none.
        """
        if "utilization" not in self._lists:
            self._lists["utilization"] = self._utilization_list()
        rows = self._lists["utilization"](since)
        return [(row.pid, row.timeStamp, row.smUtil) for row in rows]

    def _bind(self, number: _Number) -> NvmlCall:
        if not self._direct:
            return self._wrapped(number)
        name, function = _function(number.names)
        handle, pick = self._handle, number.pick
        arguments = tuple(map(ctypes.c_uint, number.arguments))
        buffer = number.into()
        reference = ctypes.byref(buffer)
        simple = pick is int

        def call() -> Any:
            if code := function(handle, *arguments, reference):
                raise NvmlError(code, name)
            return buffer.value if simple else pick(buffer)

        return call

    def _wrapped(self, number: _Number) -> NvmlCall:
        name = number.names[-1]
        arguments = number.arguments
        if name == "nvmlDeviceGetMemoryInfo_v2":
            wrapper, arguments = pynvml.nvmlDeviceGetMemoryInfo, (pynvml.nvmlMemory_v2,)
        else:
            wrapper = getattr(pynvml, name)
        return lambda: number.pick(_asked(name, wrapper, self._handle, *arguments))

    def _process_list(self, names: list[str]) -> Callable[[], Any]:
        if not self._direct:
            wrapper = getattr(pynvml, names[0])
            return lambda: _asked(names[0], wrapper, self._handle)
        name, function = _function(tuple(names))
        handle = self._handle
        return _grown(
            name,
            pynvml.c_nvmlProcessInfo_v2_t,
            lambda rows, count: function(handle, ctypes.byref(count), rows),
        )

    def _utilization_list(self) -> Callable[[int], Any]:
        name = "nvmlDeviceGetProcessUtilization"
        handle = self._handle
        if not self._direct:
            wrapper = pynvml.nvmlDeviceGetProcessUtilization
            return lambda since: _asked(name, wrapper, handle, since)
        _, function = _function((name,))
        return _grown(
            name,
            pynvml.c_nvmlProcessUtilizationSample_t,
            lambda rows, count, since: function(
                handle, rows, ctypes.byref(count), ctypes.c_ulonglong(since)
            ),
        )


def _grown(name: str, row: Any, ask: Callable[..., int]) -> Callable[..., Any]:
    """A function that writes rows into an array, called again with a larger one when too small."""
    rows = (row * _FIRST_ROWS)()
    count = ctypes.c_uint()

    def call(*arguments: int) -> Any:
        nonlocal rows
        code = INSUFFICIENT_SIZE
        for _ in range(3):
            count.value = len(rows)
            code = ask(rows, count, *arguments)
            if code != INSUFFICIENT_SIZE:
                break
            rows = (row * (2 * max(count.value, len(rows))))()
        if code:
            raise NvmlError(code, name)
        return rows[: min(count.value, len(rows))]

    return call


def _function(names: tuple[str, ...]) -> tuple[str, Any]:
    """The first of `names` that the library has."""
    for name in names:
        try:
            return name, pynvml._nvmlGetFunctionPointer(name)
        except pynvml.NVMLError as error:
            if _code(error) != FUNCTION_NOT_FOUND:
                raise NvmlError(_code(error), name) from None
    raise NvmlError(FUNCTION_NOT_FOUND, names[0])


def _asked(name: str, wrapper: Callable[..., Result], *arguments: Any) -> Result:
    try:
        return wrapper(*arguments)
    except pynvml.NVMLError as error:
        raise NvmlError(_code(error), name) from None


def _code(error: Exception) -> int:
    return int(getattr(error, "value", UNKNOWN))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _loaded_from(path: str) -> bool:
    """Load a library by path; the package's own load by name finds it then, being the same."""
    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
