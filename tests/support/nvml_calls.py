"""All NVML calls about one GPU, through nvidia-ml-py, and the errors that they may return."""

import ctypes
import time
from collections.abc import Callable
from typing import Any

import pynvml
import pytest

READINGS: dict[str, Callable[[Any], Any]] = {
    "nvmlDeviceGetName": pynvml.nvmlDeviceGetName,
    "nvmlDeviceGetUUID": pynvml.nvmlDeviceGetUUID,
    "nvmlDeviceGetSerial": pynvml.nvmlDeviceGetSerial,
    "nvmlDeviceGetVbiosVersion": pynvml.nvmlDeviceGetVbiosVersion,
    "nvmlDeviceGetBoardPartNumber": pynvml.nvmlDeviceGetBoardPartNumber,
    "nvmlDeviceGetIndex": pynvml.nvmlDeviceGetIndex,
    "nvmlDeviceGetMinorNumber": pynvml.nvmlDeviceGetMinorNumber,
    "nvmlDeviceGetPciInfo_v3": pynvml.nvmlDeviceGetPciInfo,
    "nvmlDeviceGetPciInfoExt": lambda gpu: pynvml.nvmlDeviceGetPciInfoExt(
        gpu, ctypes.byref(pynvml.nvmlPciInfoExt_v1_t(version=pynvml.nvmlPciInfoExt_v1))
    ),
    "nvmlDeviceGetMemoryErrorCounter": lambda gpu: pynvml.nvmlDeviceGetMemoryErrorCounter(
        gpu, 1, 0, 1
    ),
    "nvmlDeviceGetSupportedClocksEventReasons": pynvml.nvmlDeviceGetSupportedClocksEventReasons,
    "nvmlDeviceGetSupportedClocksThrottleReasons": (
        pynvml.nvmlDeviceGetSupportedClocksThrottleReasons
    ),
    "nvmlDeviceGetMemoryInfo": pynvml.nvmlDeviceGetMemoryInfo,
    "nvmlDeviceGetMemoryInfo_v2": lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(
        gpu, pynvml.nvmlMemory_v2
    ),
    "nvmlDeviceGetBAR1MemoryInfo": pynvml.nvmlDeviceGetBAR1MemoryInfo,
    "nvmlDeviceGetUtilizationRates": pynvml.nvmlDeviceGetUtilizationRates,
    "nvmlDeviceGetEncoderUtilization": pynvml.nvmlDeviceGetEncoderUtilization,
    "nvmlDeviceGetDecoderUtilization": pynvml.nvmlDeviceGetDecoderUtilization,
    "nvmlDeviceGetTemperature": lambda gpu: pynvml.nvmlDeviceGetTemperature(gpu, 0),
    "nvmlDeviceGetTemperatureV": lambda gpu: pynvml.nvmlDeviceGetTemperatureV(gpu, 0),
    "nvmlDeviceGetTemperatureThreshold": lambda gpu: pynvml.nvmlDeviceGetTemperatureThreshold(
        gpu, 1
    ),
    "nvmlDeviceGetMarginTemperature": pynvml.nvmlDeviceGetMarginTemperature,
    "nvmlDeviceGetPowerUsage": pynvml.nvmlDeviceGetPowerUsage,
    "nvmlDeviceGetEnforcedPowerLimit": pynvml.nvmlDeviceGetEnforcedPowerLimit,
    "nvmlDeviceGetPowerManagementLimit": pynvml.nvmlDeviceGetPowerManagementLimit,
    "nvmlDeviceGetPowerManagementDefaultLimit": pynvml.nvmlDeviceGetPowerManagementDefaultLimit,
    "nvmlDeviceGetPowerManagementLimitConstraints": (
        pynvml.nvmlDeviceGetPowerManagementLimitConstraints
    ),
    "nvmlDeviceGetTotalEnergyConsumption": pynvml.nvmlDeviceGetTotalEnergyConsumption,
    "nvmlDeviceGetFanSpeed": pynvml.nvmlDeviceGetFanSpeed,
    "nvmlDeviceGetFanSpeed_v2": lambda gpu: pynvml.nvmlDeviceGetFanSpeed_v2(gpu, 0),
    "nvmlDeviceGetNumFans": pynvml.nvmlDeviceGetNumFans,
    "nvmlDeviceGetClockInfo": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, 1),
    "nvmlDeviceGetClock": lambda gpu: pynvml.nvmlDeviceGetClock(gpu, 1, 0),
    "nvmlDeviceGetMaxClockInfo": lambda gpu: pynvml.nvmlDeviceGetMaxClockInfo(gpu, 1),
    "nvmlDeviceGetCurrentClocksThrottleReasons": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
    "nvmlDeviceGetCurrentClocksEventReasons": pynvml.nvmlDeviceGetCurrentClocksEventReasons,
    "nvmlDeviceGetPerformanceState": pynvml.nvmlDeviceGetPerformanceState,
    "nvmlDeviceGetPowerState": pynvml.nvmlDeviceGetPowerState,
    "nvmlDeviceGetPersistenceMode": pynvml.nvmlDeviceGetPersistenceMode,
    "nvmlDeviceGetComputeMode": pynvml.nvmlDeviceGetComputeMode,
    "nvmlDeviceGetNumaNodeId": pynvml.nvmlDeviceGetNumaNodeId,
    "nvmlDeviceGetDisplayActive": pynvml.nvmlDeviceGetDisplayActive,
    "nvmlDeviceGetDisplayMode": pynvml.nvmlDeviceGetDisplayMode,
    "nvmlDeviceGetEccMode": pynvml.nvmlDeviceGetEccMode,
    "nvmlDeviceGetTotalEccErrors": lambda gpu: pynvml.nvmlDeviceGetTotalEccErrors(gpu, 1, 0),
    "nvmlDeviceGetRemappedRows": pynvml.nvmlDeviceGetRemappedRows,
    "nvmlDeviceGetRetiredPagesPendingStatus": pynvml.nvmlDeviceGetRetiredPagesPendingStatus,
    "nvmlDeviceGetArchitecture": pynvml.nvmlDeviceGetArchitecture,
    "nvmlDeviceGetBrand": pynvml.nvmlDeviceGetBrand,
    "nvmlDeviceGetNumGpuCores": pynvml.nvmlDeviceGetNumGpuCores,
    "nvmlDeviceGetMemoryBusWidth": pynvml.nvmlDeviceGetMemoryBusWidth,
    "nvmlDeviceGetCudaComputeCapability": pynvml.nvmlDeviceGetCudaComputeCapability,
    "nvmlDeviceGetCurrPcieLinkGeneration": pynvml.nvmlDeviceGetCurrPcieLinkGeneration,
    "nvmlDeviceGetCurrPcieLinkWidth": pynvml.nvmlDeviceGetCurrPcieLinkWidth,
    "nvmlDeviceGetMaxPcieLinkGeneration": pynvml.nvmlDeviceGetMaxPcieLinkGeneration,
    "nvmlDeviceGetMaxPcieLinkWidth": pynvml.nvmlDeviceGetMaxPcieLinkWidth,
    "nvmlDeviceGetPcieThroughput": lambda gpu: pynvml.nvmlDeviceGetPcieThroughput(gpu, 0),
    "nvmlDeviceGetNvLinkState": lambda gpu: pynvml.nvmlDeviceGetNvLinkState(gpu, 0),
    "nvmlDeviceGetMigMode": pynvml.nvmlDeviceGetMigMode,
    "nvmlDeviceGetMaxMigDeviceCount": pynvml.nvmlDeviceGetMaxMigDeviceCount,
    "nvmlDeviceGetMigDeviceHandleByIndex": lambda gpu: pynvml.nvmlDeviceGetMigDeviceHandleByIndex(
        gpu, 0
    ),
    "nvmlDeviceIsMigDeviceHandle": pynvml.nvmlDeviceIsMigDeviceHandle,
    "nvmlDeviceGetComputeRunningProcesses_v2": pynvml.nvmlDeviceGetComputeRunningProcesses_v2,
    "nvmlDeviceGetComputeRunningProcesses_v3": pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
    "nvmlDeviceGetGraphicsRunningProcesses_v2": pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2,
    "nvmlDeviceGetMPSComputeRunningProcesses_v2": pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v2,
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3,
    "nvmlDeviceGetProcessUtilization": lambda gpu: pynvml.nvmlDeviceGetProcessUtilization(gpu, 0),
    "nvmlDeviceGetProcessesUtilizationInfo": (
        lambda gpu: pynvml.nvmlDeviceGetProcessesUtilizationInfo(gpu, 0)
    ),
    "nvmlDeviceGetFieldValues": lambda gpu: pynvml.nvmlDeviceGetFieldValues(gpu, [186]),
    "nvmlDeviceGetSupportedEventTypes": pynvml.nvmlDeviceGetSupportedEventTypes,
    "nvmlDeviceRegisterEvents": lambda gpu: pynvml.nvmlDeviceRegisterEvents(
        gpu, pynvml.nvmlEventTypeXidCriticalError, None
    ),
    "nvmlGpmQueryDeviceSupport": pynvml.nvmlGpmQueryDeviceSupport,
    "nvmlGpmSampleGet": lambda gpu: pynvml.nvmlGpmSampleGet(gpu, pynvml.c_nvmlGpmSample_t()),
    "nvmlGpmMigSampleGet": lambda gpu: pynvml.nvmlGpmMigSampleGet(
        gpu, 7, pynvml.c_nvmlGpmSample_t()
    ),
}
"""Every function about one GPU, by its name in the library."""

ERRORS = [code for code in (*range(1, 31), 999)]


def failure(call: Callable[..., Any], *arguments: Any) -> int:
    """The NVML error that the call must raise."""
    with pytest.raises(pynvml.NVMLError) as caught:
        call(*arguments)
    raised: Any = caught.value
    return int(raised.value)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition that another thread will meet is true."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited for 30 s"
        time.sleep(0.002)
