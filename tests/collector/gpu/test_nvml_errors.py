"""Every NVML error of every call costs one value or one GPU, with a reason; the others go on."""

import itertools
import os

import pytest

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.nvml_errors import words
from gpu_monitor.collector.gpu.readings import GpuReading
from gpu_monitor.collector.gpu.watchdog import Watchdog
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Call, Gpu, Mig, Process, Scenario

OF_A_GPU = [
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetTemperatureThreshold",
    "nvmlDeviceGetMarginTemperature",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetFanSpeed",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetCurrPcieLinkGeneration",
    "nvmlDeviceGetCurrPcieLinkWidth",
    "nvmlDeviceGetMaxPcieLinkWidth",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetProcessUtilization",
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetRetiredPagesPendingStatus",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetComputeMode",
    "nvmlDeviceGetNumaNodeId",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlDeviceGetGpuInstanceId",
    "nvmlDeviceGetAttributes_v2",
    "nvmlGpmQueryDeviceSupport",
    "nvmlGpmSampleAlloc",
    "nvmlGpmMigSampleGet",
    "nvmlGpmMetricsGet",
    "nvmlGpmSampleFree",
    "nvmlEventSetCreate",
    "nvmlDeviceRegisterEvents",
]
OF_THE_DRIVER = [
    "nvmlInitWithFlags",
    "nvmlDeviceGetCount_v2",
    "nvmlSystemGetDriverVersion",
    "nvmlSystemGetCudaDriverVersion_v2",
]
CODES = [*range(1, 31), 999]
PROCESS = Process(os.getpid())
GPUS = [
    Gpu(uuid="GPU-1", processes=[PROCESS], migs=[Mig(profile="1g.10gb", processes=[PROCESS])]),
    Gpu(uuid="GPU-2", utilization_percent=42, processes=[PROCESS]),
]


def read_twice(fake: FakeNvml, call: Call) -> tuple[GpuReading, ...]:
    """The second reading of a collector that starts with this call failing."""
    fake.write(Scenario(GPUS, calls=[call]))
    watch = Watchdog(Driver(), patience=10.0, timeout=10.0)
    try:
        watch.collect(moment())
        return watch.collect(moment()).gpus
    finally:
        watch.close()


@pytest.mark.parametrize("function", OF_A_GPU)
def test_an_error_about_one_gpu_costs_one_value_or_that_gpu(
    fake_nvml: FakeNvml, function: str
) -> None:
    for code in CODES:
        gpus = read_twice(fake_nvml, Call(function, error=code, gpu=0))

        other = next(gpu for gpu in gpus if gpu.identity.uuid == "GPU-2")
        assert (other.state, other.utilization_percent, len(other.uses)) == ("ok", 42, 1), code
        (hit,) = (gpu for gpu in gpus if gpu is not other)
        assert hit.state in ("ok", "lost", "error"), code
        assert (hit.reason is None) == (hit.state == "ok"), code


@pytest.mark.parametrize(("function", "code"), [*itertools.product(OF_THE_DRIVER, CODES)])
def test_a_driver_error_is_a_problem_with_a_description_or_an_unknown_version(
    fake_nvml: FakeNvml, function: str, code: int
) -> None:
    fake_nvml.write(Scenario(GPUS, calls=[Call(function, error=code)]))
    watch = Watchdog(Driver(), patience=10.0, timeout=10.0)

    reading = watch.collect(moment())

    watch.close()
    if "Version" in function:
        assert len(reading.gpus) == 2 and None in (reading.driver_version, reading.cuda_version)
    else:
        assert reading.gpus == () and [each.line for each in reading.findings] == [words(code)]


def test_every_function_called_is_in_these_lists(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario(GPUS))
    watch = Watchdog(Driver(), patience=10.0, timeout=10.0)
    for _ in range(2):
        watch.collect(moment())

    listed = sum(fake_nvml.calls(name) for name in OF_A_GPU + OF_THE_DRIVER)

    assert fake_nvml.calls() == listed
    watch.close()


@pytest.mark.parametrize("code", CODES)
def test_every_error_has_a_description(code: int) -> None:
    assert words(code) and "NVML_ERROR" not in words(code)
