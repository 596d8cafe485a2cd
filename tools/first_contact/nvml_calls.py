"""Every NVML call that GPU Monitor makes again and again, and those it may make next."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pynvml


class NvmlCall(NamedTuple):
    """`make` is given a handle. `needed`: the product shows nothing useful without it."""

    name: str
    make: Callable[[Any], Any]
    needed: bool = False


def named(wrapper: Any, *arguments: Any, needed: bool = False) -> NvmlCall:
    """A wrapper of nvidia-ml-py, with the arguments that follow the handle."""
    name = ",".join([wrapper.__name__, *map(str, arguments)])
    return NvmlCall(name, lambda handle: wrapper(handle, *arguments), needed)


def without_handle(wrapper: Any) -> NvmlCall:
    """A call about the whole machine."""
    return NvmlCall(wrapper.__name__, lambda _: wrapper())


def _handle_by_bus_id(handle: Any) -> Any:
    return pynvml.nvmlDeviceGetHandleByPciBusId(pynvml.nvmlDeviceGetPciInfo(handle).busId)


UNCORRECTED = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
FIELDS = [
    pynvml.NVML_FI_DEV_MEMORY_TEMP,
    pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    pynvml.NVML_FI_DEV_POWER_INSTANT,
    pynvml.NVML_FI_DEV_POWER_AVERAGE,
    pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT,
]
SLICE_CALLS = (
    named(pynvml.nvmlDeviceGetName),
    named(pynvml.nvmlDeviceGetUUID, needed=True),
    named(pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlMemory_v2, needed=True),
    named(pynvml.nvmlDeviceGetAttributes_v2),
    named(pynvml.nvmlDeviceGetGpuInstanceId, needed=True),
    named(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, needed=True),
    named(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3),
    named(pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3),
)
"""Of a MIG slice."""
GPU_CALLS = (
    without_handle(pynvml.nvmlDeviceGetCount),
    without_handle(pynvml.nvmlSystemGetDriverVersion),
    without_handle(pynvml.nvmlSystemGetCudaDriverVersion_v2),
    NvmlCall("nvmlDeviceGetHandleByPciBusId", _handle_by_bus_id),
    named(pynvml.nvmlDeviceGetIndex),
    named(pynvml.nvmlDeviceGetUUID, needed=True),
    named(pynvml.nvmlDeviceGetName, needed=True),
    named(pynvml.nvmlDeviceGetPciInfo, needed=True),
    named(pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlMemory_v2),
    named(pynvml.nvmlDeviceGetMemoryInfo),
    named(pynvml.nvmlDeviceGetUtilizationRates),
    named(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
    named(pynvml.nvmlDeviceGetTemperatureThreshold, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
    named(pynvml.nvmlDeviceGetMarginTemperature),
    named(pynvml.nvmlDeviceGetPowerUsage),
    named(pynvml.nvmlDeviceGetEnforcedPowerLimit),
    named(pynvml.nvmlDeviceGetTotalEnergyConsumption),
    named(pynvml.nvmlDeviceGetFanSpeed),
    named(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
    named(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
    named(pynvml.nvmlDeviceGetCurrentClocksEventReasons),
    named(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons),
    named(pynvml.nvmlDeviceGetPerformanceState),
    named(pynvml.nvmlDeviceGetPersistenceMode),
    named(pynvml.nvmlDeviceGetComputeMode),
    named(pynvml.nvmlDeviceGetRemappedRows),
    named(pynvml.nvmlDeviceGetRetiredPagesPendingStatus),
    named(pynvml.nvmlDeviceGetTotalEccErrors, *UNCORRECTED),
    named(pynvml.nvmlDeviceGetMigMode),
    named(pynvml.nvmlDeviceGetMaxMigDeviceCount),
    named(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, 0),
    named(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, needed=True),
    named(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3),
    named(pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3),
    named(pynvml.nvmlDeviceGetProcessUtilization, 0),
    named(pynvml.nvmlDeviceGetFieldValues, FIELDS),
    named(pynvml.nvmlDeviceGetCurrPcieLinkGeneration),
    named(pynvml.nvmlDeviceGetCurrPcieLinkWidth),
    named(pynvml.nvmlDeviceGetMaxPcieLinkGeneration),
    named(pynvml.nvmlDeviceGetMaxPcieLinkWidth),
    named(pynvml.nvmlDeviceGetNvLinkState, 0),
    named(pynvml.nvmlDeviceGetNumaNodeId),
    named(pynvml.nvmlDeviceGetSupportedEventTypes),
    named(pynvml.nvmlGpmQueryDeviceSupport),
)
"""Of a physical GPU."""
