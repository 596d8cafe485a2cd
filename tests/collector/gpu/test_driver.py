"""The driver over time: absent, reloaded, upgraded; GPUs that vanish and appear."""

import gc
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType

import pytest

from gpu_monitor.collector.gpu.driver import (
    CHANGE_CHECK_SECONDS,
    LAST_REOPEN_SECONDS,
    Driver,
)
from gpu_monitor.collector.gpu.lost_gpus import LOST_PROBE_SECONDS
from gpu_monitor.collector.gpu.readings import GpuReading
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Call, Gpu, Scenario
from tests.fake_nvml.scenario import Driver as Machine
from tests.support.house import eventually

RETURN_SECONDS = int(LOST_PROBE_SECONDS[0] + 2 * CHANGE_CHECK_SECONDS) + 2
"""Within this time a GPU that is back before the first probe is found."""
ONE, TWO = Gpu(uuid="GPU-1"), Gpu(uuid="GPU-2")


@pytest.fixture
def driver(fake_nvml: FakeNvml, tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(pci_folder=str(tmp_path), gpu_folder=str(tmp_path / "gpus"))
    yield driver
    driver.close()


@pytest.fixture
def probing(
    fake_nvml: FakeNvml, driver: Driver, processes: None, monkeypatch: pytest.MonkeyPatch
) -> Driver:
    """A driver whose probes find the fake."""
    for name, value in fake_nvml.environment().items():
        monkeypatch.setenv(name, value)
    return driver


def run_round(driver: Driver, now: float, is_calm: bool = True) -> list[GpuReading]:
    """Run one round of the shared worker at `now`; return the readings shown after it."""
    if driver.is_due(now):
        driver.open(now, is_calm)
    else:
        driver.check_for_changes(now)
    for slot in driver.slots:
        slot.refresh(now)
    eventually(lambda: not driver.probe.is_running(), "the probe's end")
    timed = ((slot.absent, slot.latest or slot.carried) for slot in driver.slots)
    shown = (absent or (latest and latest.reading) for absent, latest in timed)
    return [reading for reading in shown if reading]


def run_rounds(driver: Driver, first: int, end: int) -> list[GpuReading]:
    """One round a second, with all the time it takes; the readings shown after the last."""
    return [run_round(driver, float(second)) for second in range(first, end)][-1]


def text(driver: Driver) -> str:
    """Why there is no driver."""
    return "" if driver.finding is None else driver.finding.line


def states(readings: list[GpuReading]) -> list[tuple[str | None, str]]:
    return [(reading.identity.uuid, reading.state) for reading in readings]


def test_the_versions_are_those_of_the_driver(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([ONE], Machine(version="550.54.15", cuda_version="12.4")))

    run_round(driver, 0.0)

    assert (driver.driver_version, driver.cuda_version) == ("550.54.15", "12.4")
    assert driver.finding is None


def test_nvml_is_opened_once(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([ONE, TWO]))

    for second in range(100):
        run_round(driver, float(second))

    assert fake_nvml.calls("nvmlInitWithFlags") == 1
    assert fake_nvml.calls("nvmlDeviceGetHandleByIndex_v2") == 2
    assert fake_nvml.calls("nvmlDeviceGetUUID") == 2


def test_a_missing_library_is_reported_in_one_line(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.close()

    assert run_round(driver, 0.0) == []
    assert text(driver) == "no NVIDIA driver here (libnvidia-ml.so.1 not found)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("DRIVER_NOT_LOADED", "driver not loaded"),
        ("LIB_RM_VERSION_MISMATCH", "the driver was upgraded, and its library"),
        ("NO_PERMISSION", "no permission"),
        (17, "failed to initialize"),
        (23, "no resources left"),
        (27, "not ready"),
        (29, "is it being reset?"),
    ],
)
def test_a_driver_that_cannot_be_opened_says_why(
    fake_nvml: FakeNvml, driver: Driver, error: str | int, words: str
) -> None:
    fake_nvml.write(Scenario([ONE], Machine(init_error=error)))

    assert run_round(driver, 0.0) == []
    assert words in text(driver)


def test_a_driver_whose_device_file_is_missing_says_so(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    (module / "version").touch()
    fake_nvml.write(Scenario([ONE], Machine(init_error="DRIVER_NOT_LOADED")))
    driver = Driver(str(tmp_path / "pci"), str(module / "gpus"), str(tmp_path / "dev"))

    run_round(driver, 0.0)

    assert text(driver).startswith("NVIDIA driver loaded, but ")


def test_a_lost_gpu_that_was_never_opened_gets_the_bus_id_that_is_left(
    fake_nvml: FakeNvml, probing: Driver, tmp_path: Path
) -> None:
    for place in ("0000:17:00.0", "0000:3b:00.0", "0000:5e:00.0"):
        (tmp_path / "gpus" / place).mkdir(parents=True)
    gpus = [Gpu(uuid=f"GPU-{bus}", pci_bus_id=f"00000000:{bus}:00.0") for bus in ("17", "3B", "5E")]
    call = Call("nvmlDeviceGetHandleByIndex_v2", error="UNKNOWN", gpu=1)
    fake_nvml.write(Scenario(gpus, calls=[call]))

    readings = run_round(probing, 0.0)

    places = [(reading.identity.pci_bus_id, reading.state) for reading in readings]
    assert places == [
        ("00000000:17:00.0", "ok"),
        ("00000000:3B:00.0", "lost"),
        ("00000000:5E:00.0", "ok"),
    ]
    assert readings[1].reason is not None and "fell off the bus" in readings[1].reason
    fake_nvml.write(Scenario(gpus))
    assert states(run_rounds(probing, 1, RETURN_SECONDS)) == [
        ("GPU-17", "ok"),
        ("GPU-3B", "ok"),
        ("GPU-5E", "ok"),
    ]


def test_opening_is_retried_less_and_less_often(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([ONE], Machine(init_error="DRIVER_NOT_LOADED")))
    tried = []
    for second in range(30):
        before = fake_nvml.calls("nvmlInitWithFlags")
        run_round(driver, float(second))
        if fake_nvml.calls("nvmlInitWithFlags") > before:
            tried.append(second)

    assert tried == [0, 1, 3, 7, 15, 23]


def test_a_driver_that_is_back_is_found_within_ten_seconds(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([ONE], Machine(init_error="LIB_RM_VERSION_MISMATCH")))
    for second in range(60):
        run_round(driver, float(second))
    fake_nvml.write(Scenario([ONE]))

    readings = [run_round(driver, 60.0 + second) for second in range(int(LAST_REOPEN_SECONDS) + 1)]

    assert states(readings[-1]) == [("GPU-1", "ok")]
    assert driver.finding is None


def test_a_reloaded_driver_is_opened_again(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([ONE], Machine(generation=1)))
    run_round(driver, 0.0)
    fake_nvml.write(Scenario([ONE, TWO], Machine(generation=2)))

    broken, healed = run_round(driver, 2.0), run_round(driver, 3.0)

    assert states(broken) == [("GPU-1", "error")]
    assert broken[0].reason is not None and "reloaded" in broken[0].reason
    assert states(healed) == [("GPU-1", "ok"), ("GPU-2", "ok")]


def test_rows_stay_with_the_reason_when_the_driver_goes_away(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([ONE, TWO], Machine(generation=1)))
    run_round(driver, 0.0)
    gone = Machine(generation=2, init_error="DRIVER_NOT_LOADED")
    fake_nvml.write(Scenario([ONE, TWO], gone))
    run_round(driver, 2.0)

    readings = run_round(driver, 3.0)

    assert states(readings) == [("GPU-1", "error"), ("GPU-2", "error")]
    assert readings[0].reason == text(driver)
    assert readings[0].utilization_percent is None


def test_a_gpu_that_vanished_keeps_its_row_as_lost(fake_nvml: FakeNvml, probing: Driver) -> None:
    fake_nvml.write(Scenario({0: ONE, 1: TWO}))
    run_round(probing, 0.0)
    fake_nvml.write(Scenario({1: TWO}))

    falls = run_round(probing, 1.0)
    after = run_rounds(probing, 2, 60)

    assert states(falls) == [("GPU-1", "lost"), ("GPU-2", "ok")]
    assert states(after) == [("GPU-1", "lost"), ("GPU-2", "ok")]
    assert fake_nvml.calls("nvmlInitWithFlags") == 1


def test_a_gpu_that_a_reopening_does_not_find_keeps_its_row_as_lost(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario({0: ONE, 1: TWO}))
    run_round(driver, 0.0)
    fake_nvml.write(Scenario({1: TWO}, Machine(generation=2)))

    after = run_rounds(driver, 1, 12)

    assert states(after) == [("GPU-1", "lost"), ("GPU-2", "ok")]
    assert after[0].reason is not None and "not found" in after[0].reason
    assert after[1].identity.number == 0  # the driver renumbers its GPUs


def test_two_gpus_with_one_uuid_have_a_row_each(fake_nvml: FakeNvml, driver: Driver) -> None:
    twins = [replace(ONE, utilization_percent=percent) for percent in (10, 20)]
    fake_nvml.write(Scenario(twins))
    first = run_round(driver, 0.0)
    fake_nvml.write(Scenario({1: twins[1], 2: Gpu(uuid="GPU-3")}))

    driver.open(100.0, is_calm=True)
    after = run_round(driver, 100.5)

    assert [reading.utilization_percent for reading in first] == [10, 20]
    assert states(first) == [("GPU-1", "ok")] * 2
    assert states(after) == [("GPU-1", "lost"), ("GPU-1", "ok"), ("GPU-3", "ok")]
    assert after[1].identity.pci_bus_id == first[1].identity.pci_bus_id
    assert len({slot.key for slot in driver.slots}) == 3


def test_another_gpu_in_the_same_place_replaces_the_one_before(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([ONE, TWO]))
    run_round(driver, 0.0)
    fake_nvml.write(Scenario([ONE, Gpu(uuid="GPU-3")], Machine(generation=1)))

    after = run_rounds(driver, 1, 12)

    assert states(after) == [("GPU-1", "ok"), ("GPU-3", "ok")]


def test_gpus_that_changed_places_keep_their_rows(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([ONE, TWO]))
    run_round(driver, 0.0)
    slots = {slot.key: slot for slot in driver.slots}
    fake_nvml.write(Scenario([TWO, ONE], Machine(generation=1)))

    after = run_rounds(driver, 1, 12)

    assert states(after) == [("GPU-2", "ok"), ("GPU-1", "ok")]
    assert {slot.key: slot for slot in driver.slots} == slots


def test_a_lost_gpu_that_was_reset_is_found_by_reopening(
    fake_nvml: FakeNvml, probing: Driver
) -> None:
    fake_nvml.write(Scenario([ONE, Gpu(uuid="GPU-2", lost=True)]))
    first = run_round(probing, 0.0)
    fake_nvml.write(Scenario([ONE, TWO]))

    readings = run_rounds(probing, 1, RETURN_SECONDS)

    assert [reading.state for reading in first] == ["ok", "lost"]
    assert states(readings) == [("GPU-1", "ok"), ("GPU-2", "ok")]


def test_a_gpu_that_the_kernel_module_newly_lists_is_found(
    fake_nvml: FakeNvml, driver: Driver, tmp_path: Path
) -> None:
    fake_nvml.write(Scenario([ONE]))
    run_round(driver, 0.0)
    fake_nvml.write(Scenario([ONE, TWO]))
    (tmp_path / "gpus" / "0000:3b:00.0").mkdir(parents=True)

    before = run_round(driver, 1.0)
    run_round(driver, CHANGE_CHECK_SECONDS)
    after = run_round(driver, CHANGE_CHECK_SECONDS + 1)

    assert states(before) == [("GPU-1", "ok")]
    assert states(after) == [("GPU-1", "ok"), ("GPU-2", "ok")]


def test_nvml_is_not_closed_while_another_thread_is_in_a_call(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([ONE], Machine(generation=1)))
    run_round(driver, 0.0)
    fake_nvml.write(Scenario([ONE], Machine(generation=2)))
    run_round(driver, 2.0, is_calm=False)

    healed = run_round(driver, 3.0, is_calm=False)

    assert states(healed) == [("GPU-1", "ok")]
    assert fake_nvml.calls("nvmlShutdown") == 0


def test_a_gpu_that_cannot_be_opened_is_lost_and_the_others_go_on(
    fake_nvml: FakeNvml, probing: Driver
) -> None:
    fails = Call("nvmlDeviceGetHandleByIndex_v2", error="UNKNOWN", gpu=0)
    fake_nvml.write(Scenario([ONE, TWO], calls=[fails]))
    broken = run_round(probing, 0.0)
    fake_nvml.write(Scenario([ONE, TWO]))
    readings = run_rounds(probing, 1, RETURN_SECONDS)

    assert states(broken) == [(None, "lost"), ("GPU-2", "ok")]
    assert states(readings) == [("GPU-1", "ok"), ("GPU-2", "ok")]


@pytest.mark.processes
def test_a_library_that_an_upgrade_replaced_is_loaded_anew(
    fake_nvml: FakeNvml, tmp_path: Path
) -> None:
    library = tmp_path / "libnvidia-ml.so.1"
    shutil.copy(fake_nvml.folder / library.name, library)
    fake_nvml.write(Scenario([ONE], Machine(init_error="LIB_RM_VERSION_MISMATCH")))
    environment = fake_nvml.environment() | {"LD_LIBRARY_PATH": str(tmp_path)}
    command = [sys.executable, "-c", UPGRADED]

    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=-1, stdout=-1, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        before = child.stdout.readline()
        library.unlink()
        shutil.copy(fake_nvml.folder / library.name, library)
        fake_nvml.write(Scenario([ONE]))
        after, _ = child.communicate("\n")

    assert before.startswith("the driver was upgraded, and its library")
    assert after == "None ok deleted: False\n"


UPGRADED = """
from gpu_monitor.collector.gpu.driver import Driver
driver = Driver()
driver.open(0.0, True)
print(driver.finding.line, flush=True)
input()
for second in (8.0, 16.0):
    driver.open(second, True)
driver.slots[0].refresh(16.0)
with open("/proc/self/maps") as maps:
    deleted = any("libnvidia-ml" in line and "(deleted)" in line for line in maps)
print(driver.finding, driver.slots[0].latest.reading.state, "deleted:", deleted)
"""
ROOT = Path(__file__).parent.parent.parent.parent


def test_failed_calls_and_reopenings_leave_no_garbage(fake_nvml: FakeNvml, probing: Driver) -> None:
    errors = {"nvmlDeviceGetClockInfo": "UNKNOWN", "nvmlDeviceGetMemoryInfo_v2": "GPU_IS_LOST"}
    calls = [Call(name, error=error, gpu=at) for at, (name, error) in enumerate(errors.items())]
    fake_nvml.write(Scenario([ONE, TWO], calls=calls))
    run_rounds(probing, 0, 3)
    opened = fake_nvml.calls("nvmlInitWithFlags")
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        seen = run_rounds(probing, 3, 200)
        gc.collect()
        kinds = {type(each) for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert [kind for kind in kinds if kind.__module__.startswith("gpu_monitor.collector")] == []
    assert FrameType not in kinds and TracebackType not in kinds
    assert [reading.state for reading in seen] == ["ok", "lost"]
    assert fake_nvml.calls("nvmlInitWithFlags") > opened
