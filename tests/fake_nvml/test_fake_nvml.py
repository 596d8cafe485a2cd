"""The fake NVML through the real nvidia-ml-py: values, processes, slices."""

import ctypes
import os
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pynvml
import pytest

from tests.fake_nvml import N_A, Driver, FakeNvml, Gpu, Mig, Process, Scenario, error, wave
from tests.support.nvml_calls import READINGS, failure, wait_until

MIB = 1 << 20
MAX_PID = 1 << 22
INVALID_ARGUMENT, NOT_SUPPORTED, TIMEOUT = 2, 3, 10


def test_the_real_package_reads_the_fake(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu()] * 3, Driver("535.183.01", "12.535.183.01", "12.2")))
    pynvml.nvmlInit()
    assert pynvml.nvmlSystemGetDriverVersion() == "535.183.01"
    assert pynvml.nvmlSystemGetNVMLVersion() == "12.535.183.01"
    assert pynvml.nvmlSystemGetCudaDriverVersion() == 12020
    assert pynvml.nvmlSystemGetCudaDriverVersion_v2() == 12020
    assert pynvml.nvmlDeviceGetCount() == 3


@pytest.mark.parametrize(
    ("gpu", "name", "answer"),
    [
        (Gpu(name="NVIDIA A2"), "nvmlDeviceGetName", "NVIDIA A2"),
        (Gpu(uuid="GPU-1"), "nvmlDeviceGetUUID", "GPU-1"),
        (Gpu(serial="42"), "nvmlDeviceGetSerial", "42"),
        (Gpu(temperature_celsius=61), "nvmlDeviceGetTemperature", 61),
        (Gpu(temperature_celsius=61), "nvmlDeviceGetTemperatureV", 61),
        (Gpu(slowdown_celsius=90), "nvmlDeviceGetTemperatureThreshold", 90),
        (Gpu(margin_celsius=-3), "nvmlDeviceGetMarginTemperature", -3),
        (Gpu(power_watts=251.5), "nvmlDeviceGetPowerUsage", 251500),
        (Gpu(power_limit_watts=400), "nvmlDeviceGetEnforcedPowerLimit", 400000),
        (Gpu(power_limit_watts=400), "nvmlDeviceGetPowerManagementLimit", 400000),
        (Gpu(fan_percent=77), "nvmlDeviceGetFanSpeed", 77),
        (Gpu(fan_percent=77), "nvmlDeviceGetFanSpeed_v2", 77),
        (Gpu(sm_clock_mhz=1410), "nvmlDeviceGetClockInfo", 1410),
        (Gpu(max_sm_clock_mhz=1980), "nvmlDeviceGetMaxClockInfo", 1980),
        (Gpu(throttle_reasons="0x44"), "nvmlDeviceGetCurrentClocksEventReasons", 0x44),
        (Gpu(throttle_reasons=4), "nvmlDeviceGetCurrentClocksThrottleReasons", 4),
        (Gpu(performance_state=8), "nvmlDeviceGetPerformanceState", 8),
        (Gpu(energy_joules=12), "nvmlDeviceGetTotalEnergyConsumption", 12000),
        (Gpu(ecc_uncorrected=2), "nvmlDeviceGetTotalEccErrors", 2),
        (Gpu(ecc_uncorrected=2), "nvmlDeviceGetMemoryErrorCounter", 2),
        (Gpu(), "nvmlDeviceGetSupportedClocksEventReasons", 0x1FF),
        (Gpu(), "nvmlDeviceGetSupportedClocksThrottleReasons", 0x1FF),
        (Gpu(ecc=0), "nvmlDeviceGetEccMode", [0, 0]),
        (Gpu(remapped_pending=1), "nvmlDeviceGetRemappedRows", (0, 0, 1, 0)),
        (Gpu(compute_capability=8.6), "nvmlDeviceGetCudaComputeCapability", (8, 6)),
        (Gpu(pcie_tx_kib=123), "nvmlDeviceGetPcieThroughput", 123),
        (Gpu(mig_mode=1), "nvmlDeviceGetMigMode", [1, 1]),
        (Gpu(compute_mode=3), "nvmlDeviceGetComputeMode", 3),
        (Gpu(numa_node=2), "nvmlDeviceGetNumaNodeId", 2),
    ],
)
def test_a_value_of_the_scenario_is_converted_to_nvml_units(
    fake_nvml: FakeNvml, one_gpu: Any, gpu: Gpu, name: str, answer: Any
) -> None:
    fake_nvml.write(Scenario([gpu]))
    assert READINGS[name](one_gpu) == answer


def test_the_library_knows_every_field_of_gpu(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    settable = [each.name for each in fields(Gpu) if each.default is not MISSING]
    texts = {name: 1 for name in settable if name not in ("lost", "pci_bus_id")}
    del texts["processes"], texts["migs"], texts["xids"]
    gpu = Gpu(**texts, xids=[1], pci_bus_id="0000:1b:00.0", fields={1: 1})  # type: ignore[arg-type]  # all at once
    fake_nvml.write(Scenario([gpu]))
    assert pynvml.nvmlDeviceGetPciInfo(one_gpu).busId == "00000000:1B:00.0"


def test_the_utilization_of_gpu_and_memory_controller_arrives(
    fake_nvml: FakeNvml, one_gpu: Any
) -> None:
    fake_nvml.write(
        Scenario([Gpu(utilization_percent=93, memory_controller_utilization_percent=41)])
    )
    rates = pynvml.nvmlDeviceGetUtilizationRates(one_gpu)
    assert (rates.gpu, rates.memory) == (93, 41)


def test_reserved_memory_counts_as_used_in_the_first_version_only(
    fake_nvml: FakeNvml, one_gpu: Any
) -> None:
    fake_nvml.write(
        Scenario([Gpu(memory_total_mib=1000, memory_used_mib=300, memory_reserved_mib=50)])
    )
    first = pynvml.nvmlDeviceGetMemoryInfo(one_gpu)
    second = pynvml.nvmlDeviceGetMemoryInfo(one_gpu, pynvml.nvmlMemory_v2)
    assert (first.total, first.used, first.free) == (1000 * MIB, 350 * MIB, 650 * MIB)
    assert (second.used, second.reserved, second.free) == (300 * MIB, 50 * MIB, 650 * MIB)


def test_used_memory_defaults_to_the_sum_over_the_processes(
    fake_nvml: FakeNvml, one_gpu: Any
) -> None:
    fake_nvml.write(Scenario([Gpu(processes=[Process(1, 100), Process(2, 50), Process(3, None)])]))
    memory = pynvml.nvmlDeviceGetMemoryInfo(one_gpu, pynvml.nvmlMemory_v2)
    assert memory.used == 150 * MIB


def test_unified_memory_has_no_memory_information(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu(memory_total_mib=N_A, processes=[Process(1, 512)])]))
    for name in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"):
        assert failure(READINGS[name], one_gpu) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(one_gpu)[0].usedGpuMemory == 512 * MIB


def test_a_value_can_be_unsupported_or_an_error(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu(fan_percent=N_A, temperature_celsius=error("NO_PERMISSION"))]))
    assert failure(pynvml.nvmlDeviceGetFanSpeed, one_gpu) == 3
    assert failure(pynvml.nvmlDeviceGetTemperature, one_gpu, 0) == 4
    assert pynvml.nvmlDeviceGetPowerUsage(one_gpu) == 70000


def test_a_gpu_is_found_by_index_uuid_and_bus(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu(uuid="GPU-7", pci_bus_id="00000001:0A:00.0")]))
    pynvml.nvmlInit()
    for handle in (
        pynvml.nvmlDeviceGetHandleByUUID("GPU-7"),
        pynvml.nvmlDeviceGetHandleByPciBusId("1:a:0.0"),
    ):
        assert pynvml.nvmlDeviceGetIndex(handle) == 1
    assert failure(pynvml.nvmlDeviceGetHandleByUUID, "GPU-8") == 6
    assert failure(pynvml.nvmlDeviceGetHandleByPciBusId, "00000001:0B:00.0") == 6


def test_a_process_has_the_name_that_its_command_line_begins_with(fake_nvml: FakeNvml) -> None:
    pynvml.nvmlInit()
    name = Path("/proc/self/cmdline").read_text().split("\0")[0]
    assert pynvml.nvmlSystemGetProcessName(os.getpid()) == name
    assert failure(pynvml.nvmlSystemGetProcessName, MAX_PID) == pynvml.NVML_ERROR_NOT_FOUND


def test_a_slice_is_not_on_the_bus_by_either_function(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(pci_bus_id="00000001:3B:00.0", migs=[Mig()])]))
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    info = pynvml.nvmlPciInfoExt_v1_t(version=pynvml.nvmlPciInfoExt_v1)
    pynvml.nvmlDeviceGetPciInfoExt(gpu, ctypes.byref(info))
    assert (info.domain, info.bus, info.busId) == (1, 0x3B, "00000001:3B:00.0")
    assert info.pciDeviceId == pynvml.nvmlDeviceGetPciInfo(gpu).pciDeviceId
    slice_ = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0)
    assert failure(pynvml.nvmlDeviceGetPciInfoExt, slice_, ctypes.byref(info)) == NOT_SUPPORTED
    assert pynvml.nvmlDeviceGetMemoryErrorCounter(slice_, 1, 0, 1) == 0


def test_processes_are_listed_by_type(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    work = [Process(11), Process(12, type="G"), Process(13, type="C+G"), Process(14, type="M")]
    fake_nvml.write(Scenario([Gpu(processes=[*work, Process("self", None)])]))
    compute = pynvml.nvmlDeviceGetComputeRunningProcesses(one_gpu)
    graphics = pynvml.nvmlDeviceGetGraphicsRunningProcesses(one_gpu)
    mps = pynvml.nvmlDeviceGetMPSComputeRunningProcesses(one_gpu)
    assert [process.pid for process in compute] == [11, 13, os.getpid()]
    assert [process.pid for process in graphics] == [12, 13]
    assert [process.pid for process in mps] == [14]
    assert [process.usedGpuMemory for process in compute] == [1024 * MIB, 1024 * MIB, None]


def test_a_call_with_too_small_a_buffer_returns_the_size(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu(processes=[Process(pid) for pid in (1, 2, 3)])]))
    function = pynvml.nvmlLib.nvmlDeviceGetComputeRunningProcesses_v3
    infos = (pynvml.c_nvmlProcessInfo_v3_t * 3)()
    for room, buffer, result in ((0, None, 7), (2, infos, 7), (3, infos, 0), (1, None, 2)):
        count = ctypes.c_uint(room)
        assert function(one_gpu, ctypes.byref(count), buffer) == result
        assert count.value == (1 if result == 2 else 3)
    assert [info.pid for info in infos] == [1, 2, 3]


def test_process_utilization_returns_only_new_samples(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    work = [
        Process(5, sm_utilization_percent=60),
        Process(6, sm_utilization_percent=None),
        Process(7, sm_utilization_percent=1),
    ]
    fake_nvml.write(Scenario([Gpu(processes=work)]))
    for read in (
        pynvml.nvmlDeviceGetProcessUtilization,
        pynvml.nvmlDeviceGetProcessesUtilizationInfo,
    ):
        samples = read(one_gpu, 0)
        assert [(sample.pid, sample.smUtil) for sample in samples] == [(5, 60), (7, 1)]
        later = samples[0].timeStamp + 3600 * 10**6
        assert failure(read, one_gpu, later) == 6


def test_field_values_fail_one_by_one(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    gpu = Gpu(power_watts=300, memory_temperature_celsius=N_A, fields={194: -2, 269: 5})
    fake_nvml.write(Scenario([gpu]))
    power, memory, limit, slowed, unknown = pynvml.nvmlDeviceGetFieldValues(
        one_gpu, [186, 82, 194, 269, 77]
    )
    assert (power.nvmlReturn, power.value.uiVal) == (0, 300000)
    assert (memory.nvmlReturn, unknown.nvmlReturn) == (3, 3)
    assert (limit.valueType, limit.value.siVal) == (pynvml.NVML_VALUE_TYPE_SIGNED_INT, -2)
    assert slowed.value.ullVal == 5


def test_the_first_nvlinks_are_up(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu(nvlinks=4, nvlinks_up=3)]))
    asked = [91, *((165, link) for link in range(5))]
    count, *states = pynvml.nvmlDeviceGetFieldValues(one_gpu, asked)
    assert (count.nvmlReturn, count.value.uiVal) == (0, 4)
    assert [state.value.uiVal for state in states[:4]] == [1, 1, 1, 0]
    assert [state.nvmlReturn for state in states] == [0, 0, 0, 0, 2]
    assert [pynvml.nvmlDeviceGetNvLinkState(one_gpu, link) for link in range(4)] == [1, 1, 1, 0]
    assert failure(pynvml.nvmlDeviceGetNvLinkState, one_gpu, 4) == 2


def test_a_gpu_has_no_nvlinks_unless_the_scenario_says_so(
    fake_nvml: FakeNvml, one_gpu: Any
) -> None:
    (count,) = pynvml.nvmlDeviceGetFieldValues(one_gpu, [91])
    assert count.nvmlReturn == 3
    assert failure(pynvml.nvmlDeviceGetNvLinkState, one_gpu, 0) == 3


def test_a_slice_has_its_own_name_memory_and_processes(fake_nvml: FakeNvml) -> None:
    small = Mig("1g.10gb", gpu_instance=9, memory_total_mib=9856, processes=[Process(21, 100)])
    big = Mig("3g.40gb", gpu_instance=2, memory_total_mib=40448, slices=3)
    fake_nvml.write(Scenario([Gpu(migs=[small, big], processes=[Process(22, gpu_instance=2)])]))
    pynvml.nvmlInit()
    parent = pynvml.nvmlDeviceGetHandleByIndex(0)
    handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, 0)
    assert pynvml.nvmlDeviceGetName(handle) == "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    assert pynvml.nvmlDeviceGetMemoryInfo(handle).used == 100 * MIB
    assert [
        (process.pid, process.gpuInstanceId, process.computeInstanceId)
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    ] == [(21, 9, 0)]
    of_parent = pynvml.nvmlDeviceGetComputeRunningProcesses(parent)
    assert [process.gpuInstanceId for process in of_parent] == [2, 9]
    attributes = pynvml.nvmlDeviceGetAttributes(
        pynvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, 1)
    )
    assert (attributes.gpuInstanceSliceCount, attributes.memorySizeMB) == (3, 40448)


def test_slices_are_found_by_index_and_have_ids(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(migs=[Mig(uuid="MIG-1")])]))
    pynvml.nvmlInit()
    parent = pynvml.nvmlDeviceGetHandleByIndex(0)
    handle = pynvml.nvmlDeviceGetHandleByUUID("MIG-1")
    above = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    assert pynvml.nvmlDeviceGetUUID(above) == pynvml.nvmlDeviceGetUUID(parent)
    assert pynvml.nvmlDeviceIsMigDeviceHandle(handle).value == 1
    assert pynvml.nvmlDeviceIsMigDeviceHandle(parent).value == 0
    assert (pynvml.nvmlDeviceGetGpuInstanceId(handle), pynvml.nvmlDeviceGetIndex(handle)) == (7, 0)
    assert failure(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, parent, 1) == 6
    fake_nvml.write(Scenario([Gpu(mig_mode=0)]))
    assert failure(pynvml.nvmlDeviceGetName, handle) == 6


def test_a_divided_gpu_has_no_utilization(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu(utilization_percent=50, migs=[Mig()])]))
    handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(one_gpu, 0)
    assert pynvml.nvmlDeviceGetMaxMigDeviceCount(one_gpu) == 7
    for each in (one_gpu, handle):
        assert failure(pynvml.nvmlDeviceGetUtilizationRates, each) == 3
        assert failure(pynvml.nvmlDeviceGetProcessUtilization, each, 0) == 3


def test_a_wave_moves_within_its_bounds(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu(power_watts=wave(20, 90, 0.2))]))
    seen: set[int] = set()

    def moved() -> bool:
        seen.add(pynvml.nvmlDeviceGetPowerUsage(one_gpu))
        return len(seen) >= 5

    wait_until(moved)
    assert 20000 <= min(seen) < max(seen) <= 90000


def test_calls_are_counted_by_name(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    before = fake_nvml.calls()
    for _ in range(3):
        pynvml.nvmlDeviceGetPowerUsage(one_gpu)
    assert fake_nvml.calls("nvmlDeviceGetPowerUsage") == 3
    assert fake_nvml.calls() - before == 3
    with pytest.raises(AttributeError, match=r"no nvmlDeviceGetPowerUsag$"):
        fake_nvml.calls("nvmlDeviceGetPowerUsag")


def test_an_event_set_receives_errors_after_registration(
    fake_nvml: FakeNvml,
) -> None:
    fake_nvml.write(Scenario([Gpu(xids=[13]), Gpu(), Gpu(xids=[62])]))
    pynvml.nvmlInit()
    gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(2)]
    events = pynvml.nvmlEventSetCreate()
    assert fake_nvml.event_sets() == 1
    for gpu in gpus:
        assert pynvml.nvmlDeviceGetSupportedEventTypes(gpu) == pynvml.nvmlEventTypeXidCriticalError
        pynvml.nvmlDeviceRegisterEvents(gpu, pynvml.nvmlEventTypeXidCriticalError, events)
    assert failure(pynvml.nvmlEventSetWait, events, 1) == TIMEOUT
    fake_nvml.write(Scenario([Gpu(xids=[13, 31]), Gpu(xids=[48]), Gpu(xids=[62, 64])]))
    received = [pynvml.nvmlEventSetWait(events, 1000) for _ in range(2)]
    assert [(event.eventData, event.eventType) for event in received] == [(31, 8), (48, 8)]
    assert pynvml.nvmlDeviceGetIndex(received[1].device) == 1
    assert failure(pynvml.nvmlEventSetWait, events, 0) == TIMEOUT
    pynvml.nvmlEventSetFree(events)
    assert fake_nvml.event_sets() == 0
    assert failure(pynvml.nvmlEventSetWait, events, 1) == INVALID_ARGUMENT
    pynvml.nvmlShutdown()


def test_a_slice_and_other_events_cannot_be_registered(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(migs=[Mig()])]))
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    slice = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0)
    events = pynvml.nvmlEventSetCreate()
    for handle, kind in ((slice, pynvml.nvmlEventTypeXidCriticalError), (gpu, 1)):
        assert failure(pynvml.nvmlDeviceRegisterEvents, handle, kind, events) == NOT_SUPPORTED
    pynvml.nvmlEventSetFree(events)
    pynvml.nvmlShutdown()
