"""What NVML is asked of a device again and again: functions, arguments, what is taken of them."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Number(NamedTuple):
    """A function of NVML that writes one value for one device.

    `names` are its C names, newest first: the first that the library has is called. `into` names
    the type it writes into, of ctypes or of nvidia-ml-py.
    """

    names: tuple[str, ...]
    into: str = "c_uint"
    arguments: tuple[int, ...] = ()
    pick: Callable[[Any], Any] = int


def _total_and_used(memory: Any) -> tuple[int, int]:
    return memory.total, memory.used


def _gpu_and_memory(rates: Any) -> tuple[int, int]:
    return rates.gpu, rates.memory


_CHIP = 0  # NVML_TEMPERATURE_GPU
_SM_CLOCK, _MEMORY_CLOCK = 1, 2  # NVML_CLOCK_SM, NVML_CLOCK_MEM

NUMBERS = {
    "memory": Number(("nvmlDeviceGetMemoryInfo_v2",), "c_nvmlMemory_v2_t", pick=_total_and_used),
    "memory_v1": Number(("nvmlDeviceGetMemoryInfo",), "c_nvmlMemory_t", pick=_total_and_used),
    "utilization": Number(
        ("nvmlDeviceGetUtilizationRates",), "c_nvmlUtilization_t", pick=_gpu_and_memory
    ),
    "temperature": Number(("nvmlDeviceGetTemperature",), arguments=(_CHIP,)),
    "power": Number(("nvmlDeviceGetPowerUsage",)),
    "throttle": Number(
        ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
        "c_ulonglong",
    ),
    "fan": Number(("nvmlDeviceGetFanSpeed",)),
    "power_limit": Number(("nvmlDeviceGetEnforcedPowerLimit",)),
    "sm_clock": Number(("nvmlDeviceGetClockInfo",), arguments=(_SM_CLOCK,)),
    "memory_clock": Number(("nvmlDeviceGetClockInfo",), arguments=(_MEMORY_CLOCK,)),
}
"""Memory is (total, used) in bytes, used without the driver's reserve but for `memory_v1`;
utilization is (GPU, memory controller) in percent; power is in milliwatts."""
