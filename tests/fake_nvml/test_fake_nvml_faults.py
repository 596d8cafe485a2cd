"""The fake NVML when things break: errors, lost GPUs, a missing driver, calls that hang."""

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pynvml
import pytest

from tests.fake_nvml import Call, Driver, FakeNvml, Gpu, Scenario, library, library_folder
from tests.support.nvml_calls import ERRORS, READINGS, failure, wait_until

MIB = 1 << 20


@pytest.mark.parametrize("name", READINGS)
def test_every_call_can_fail_with_every_error(fake_nvml: FakeNvml, one_gpu: Any, name: str) -> None:
    ended = []
    for code in ERRORS:
        fake_nvml.write(Scenario([Gpu()], calls=[Call(name, error=code)]))
        ended.append(failure(READINGS[name], one_gpu))
    assert ended == ERRORS


@pytest.mark.processes
def test_every_call_about_a_gpu_is_tested() -> None:
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", str(library_folder() / library.SONAME)],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split()[-1] for line in symbols.stdout.splitlines()}
    others = {name for name in names if not name.startswith("nvml") or "Handle" in name}
    others |= {
        name for name in names if name.startswith(("nvmlInit", "nvmlInternal", "nvmlSystem"))
    }
    others |= {"nvmlShutdown", "nvmlErrorString", "nvmlDeviceGetCount_v2"}
    others |= {"nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId"}  # slices only
    others |= {"nvmlDeviceGetAttributes_v2", "nvmlDeviceGetGraphicsRunningProcesses_v3"}
    others |= {"nvmlEventSetCreate", "nvmlEventSetWait_v2", "nvmlEventSetFree"}
    others |= {"nvmlGpmSampleAlloc", "nvmlGpmSampleFree", "nvmlGpmMetricsGet"}
    assert names - others <= set(READINGS)


def test_an_error_can_be_limited_to_one_gpu(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu()] * 2, calls=[Call("nvmlDeviceGet*", error="TIMEOUT", gpu=1)]))
    pynvml.nvmlInit()
    assert pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0))
    assert failure(pynvml.nvmlDeviceGetHandleByIndex, 1) == pynvml.NVML_ERROR_TIMEOUT


def test_the_first_rule_that_matches_a_call_applies(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    rules = [Call("nvmlDeviceGetName", error=4), Call("nvmlDeviceGet*", error=10)]
    fake_nvml.write(Scenario([Gpu()], calls=rules))
    assert failure(pynvml.nvmlDeviceGetName, one_gpu) == 4
    assert failure(pynvml.nvmlDeviceGetUUID, one_gpu) == 10


def test_a_lost_gpu_answers_no_call_and_is_still_counted(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(1)
    fake_nvml.write(Scenario([Gpu(), Gpu(lost=True)]))
    assert {failure(read, handle) for read in READINGS.values()} == {15}
    assert failure(pynvml.nvmlDeviceGetHandleByIndex, 1) == 15
    assert pynvml.nvmlDeviceGetCount() == 2


def test_gpus_are_counted_when_nvml_is_initialised(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    pynvml.nvmlInit()
    first, second = (pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(2))
    fake_nvml.write(Scenario({1: Gpu(), 2: Gpu()}))
    assert failure(pynvml.nvmlDeviceGetName, first) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert failure(pynvml.nvmlDeviceGetHandleByIndex, 2) == 2
    pynvml.nvmlShutdown()
    pynvml.nvmlInit()
    again = pynvml.nvmlDeviceGetHandleByIndex(0)
    assert pynvml.nvmlDeviceGetUUID(again) == pynvml.nvmlDeviceGetUUID(second)
    assert pynvml.nvmlDeviceGetIndex(second) == 0


@pytest.mark.parametrize("code", [9, 18, 4, 999])
def test_a_driver_can_be_missing_when_nvml_is_initialised(fake_nvml: FakeNvml, code: int) -> None:
    fake_nvml.write(Scenario([Gpu()], Driver(init_error=code)))
    assert failure(pynvml.nvmlInit) == code
    assert failure(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED
    fake_nvml.write(Scenario([Gpu()]))
    pynvml.nvmlInit()
    assert pynvml.nvmlDeviceGetCount() == 1


def test_after_a_reload_of_the_driver_nvml_must_be_initialised_again(
    fake_nvml: FakeNvml, one_gpu: Any
) -> None:
    fake_nvml.write(Scenario([Gpu()], Driver(generation=2)))
    assert failure(pynvml.nvmlDeviceGetName, one_gpu) == pynvml.NVML_ERROR_UNINITIALIZED
    pynvml.nvmlShutdown()
    pynvml.nvmlInit()
    assert pynvml.nvmlDeviceGetName(one_gpu)


def test_every_call_fails_before_init_and_after_shutdown(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    pynvml.nvmlShutdown()
    assert {failure(read, one_gpu) for read in READINGS.values()} == {1}
    assert failure(pynvml.nvmlShutdown) == pynvml.NVML_ERROR_UNINITIALIZED


def test_a_call_that_hangs_does_not_affect_other_threads(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu()], calls=[Call("nvmlDeviceGetPowerUsage", hang=True)]))
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(pynvml.nvmlDeviceGetPowerUsage, one_gpu)
        wait_until(lambda: fake_nvml.hanging() == 1)
        assert pynvml.nvmlDeviceGetTemperature(one_gpu, 0) == 40
        assert not stuck.done()
        fake_nvml.write(Scenario([Gpu(power_watts=99)]))
        assert stuck.result(30) == 99000
    assert fake_nvml.hanging() == 0


def test_closing_the_fake_releases_calls_that_hang(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu()], calls=[Call("*", hang=True)]))
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(failure, pynvml.nvmlDeviceGetName, one_gpu)
        wait_until(lambda: fake_nvml.hanging() == 1)
        fake_nvml.close()
        assert stuck.result(30) == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    assert failure(pynvml.nvmlInit) == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND


def test_a_slow_call_takes_at_least_its_delay(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu()], calls=[Call("nvmlDeviceGetName", delay_ms=60)]))
    before = time.monotonic()
    assert pynvml.nvmlDeviceGetName(one_gpu)
    assert time.monotonic() - before >= 0.06


def test_threads_never_see_half_a_scenario(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    machines = [Scenario([Gpu(memory_total_mib=9 * n, memory_used_mib=n)]) for n in (600, 700)]
    fake_nvml.write(machines[0])
    over = threading.Event()

    def read() -> set[tuple[int, int]]:
        seen = set()
        while not over.is_set():
            memory: Any = pynvml.nvmlDeviceGetMemoryInfo(one_gpu, pynvml.nvmlMemory_v2)
            seen.add((memory.total // MIB, memory.used // MIB))
        return seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        for turn in range(200):
            fake_nvml.write(machines[turn % 2])
        over.set()
    seen = set().union(*(reader.result() for reader in readers))
    assert seen <= {(5400, 600), (6300, 700)}


def test_a_gpu_that_was_reset_is_lost_until_nvml_is_initialised_again(
    fake_nvml: FakeNvml, one_gpu: Any
) -> None:
    fake_nvml.write(Scenario([Gpu(lost=True)]))
    fallen = failure(pynvml.nvmlDeviceGetTemperature, one_gpu, 0)
    fake_nvml.write(Scenario([Gpu()]))
    after = failure(pynvml.nvmlDeviceGetTemperature, one_gpu, 0)
    pynvml.nvmlShutdown()
    pynvml.nvmlInit()

    assert (fallen, after) == (pynvml.NVML_ERROR_GPU_IS_LOST,) * 2
    assert pynvml.nvmlDeviceGetTemperature(pynvml.nvmlDeviceGetHandleByIndex(0), 0) == 40


def test_an_event_set_with_a_lost_gpu_reports_nothing_but_the_loss(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    pynvml.nvmlInit()
    events = pynvml.nvmlEventSetCreate()
    for index in range(2):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
    fake_nvml.write(Scenario([Gpu(lost=True, xids=[79]), Gpu()]))
    first = pynvml.nvmlEventSetWait_v2(events, 1000)

    begun = time.monotonic()
    codes = [failure(pynvml.nvmlEventSetWait_v2, events, 60_000) for _ in range(2)]

    assert first.eventData == 79
    assert codes == [pynvml.NVML_ERROR_GPU_IS_LOST] * 2 and time.monotonic() - begun < 30.0


def test_a_rule_for_a_gpu_applies_to_opening_it_by_bus_id(fake_nvml: FakeNvml) -> None:
    rule = Call("nvmlDeviceGetHandleByPciBusId_v2", error="UNKNOWN", gpu=1)
    fake_nvml.write(Scenario([Gpu(), Gpu()], calls=[rule]))
    pynvml.nvmlInit()

    assert pynvml.nvmlDeviceGetHandleByPciBusId("00000000:10:00.0")
    open_gpu = pynvml.nvmlDeviceGetHandleByPciBusId
    assert failure(open_gpu, "00000000:11:00.0") == pynvml.NVML_ERROR_UNKNOWN
    assert failure(open_gpu, "00000000:12:00.0") == pynvml.NVML_ERROR_NOT_FOUND
    assert failure(open_gpu, "nowhere") == pynvml.NVML_ERROR_INVALID_ARGUMENT
