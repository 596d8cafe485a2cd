"""How often each value of a GPU is read."""

from dataclasses import replace

import pytest

from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.slow_values import SLOWER_READING_SECONDS
from tests.collector.gpu.devices import BUSY, device
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Mig, Process, Scenario

CALLS_PER_SECOND = 7


CALLS_A_MINUTE = {
    "nvmlDeviceGetUtilizationRates": 60,
    "nvmlDeviceGetMemoryInfo_v2": 60,
    "nvmlDeviceGetPowerUsage": 60,
    "nvmlDeviceGetComputeRunningProcesses_v3": 60,
    "nvmlDeviceGetProcessUtilization": 60,
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": 12,
    "nvmlDeviceGetGraphicsRunningProcesses_v3": 12,
    "nvmlDeviceGetTemperature": 12,
    "nvmlDeviceGetCurrentClocksEventReasons": 12,
    "nvmlDeviceGetClockInfo": 12 + 6,
    "nvmlDeviceGetFanSpeed": 6,
    "nvmlDeviceGetTotalEnergyConsumption": 6,
    "nvmlDeviceGetEnforcedPowerLimit": 6,
    "nvmlDeviceGetMigMode": 6,
}
"""What is read for each sample, every 5 s and every 10 s."""


@pytest.mark.parametrize("processes", [0, 1, 4])
def test_a_gpu_takes_seven_calls_a_second_on_average(opened: FakeNvml, processes: int) -> None:
    there = [Process(4000 + number, sm_utilization_percent=9) for number in range(processes)]
    opened.write(Scenario(gpus=[replace(BUSY, processes=there)]))
    gpu = device()
    minutes = 5
    gpu.read(0.0)
    before = opened.calls()

    for second in range(1, 60 * minutes + 1):
        gpu.read(float(second))

    assert 1 < (opened.calls() - before) / (60 * minutes) <= CALLS_PER_SECOND
    assert opened.calls("nvmlDeviceGetPcieThroughput") == 0  # blocks for 20 ms by design


def test_a_slice_takes_four_calls_a_second_more(opened: FakeNvml) -> None:
    slices = [Mig(processes=[Process(4000 + number)]) for number in range(7)]
    opened.write(Scenario(gpus=[replace(BUSY, migs=slices)]))
    gpu = device()
    gpu.read(0.0)
    before = opened.calls()

    for second in range(1, 61):
        gpu.read(float(second))
    gpu.close()

    assert (opened.calls() - before) / 60 <= CALLS_PER_SECOND + 4 * len(slices)


def test_values_that_change_slowly_are_read_less_often(opened: FakeNvml) -> None:
    opened.write(Scenario(gpus=[replace(BUSY, processes=[Process(7)])]))
    gpu = device()
    gpu.read(0.0)
    before = {name: opened.calls(name) for name in CALLS_A_MINUTE}

    for second in range(1, 61):
        gpu.read(float(second))

    assert {name: opened.calls(name) - before[name] for name in before} == CALLS_A_MINUTE


def test_a_hurried_collector_makes_no_slow_call_twice(opened: FakeNvml) -> None:
    gpu = device()
    for turn in range(20):
        gpu.read(turn / 5)

    assert opened.calls("nvmlDeviceGetTemperature") == 1
    assert opened.calls("nvmlDeviceGetFanSpeed") == 1


def test_gpus_read_their_slow_values_in_different_samples(opened: FakeNvml) -> None:
    opened.write(Scenario(gpus=[BUSY, replace(BUSY, uuid="GPU-2")]))
    nvml.close_library(Trace())  # GPUs are counted when NVML is opened
    nvml.open_library(Trace())
    gpus = [device(0), device(1)]
    for gpu in gpus:
        gpu.read(0.0)
    before = opened.calls("nvmlDeviceGetFanSpeed")

    for gpu in gpus:
        gpu.read(SLOWER_READING_SECONDS - 1)

    assert opened.calls("nvmlDeviceGetFanSpeed") - before == 1
