"""GPUs that the kernel has put to sleep: opening the driver does not wake them."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.readings import GpuReading
from gpu_monitor.collector.gpu.watchdog import Watchdog
from tests.collector.gpu.test_driver import RETURN_SECONDS, run_rounds
from tests.fake_nvml import Call, FakeNvml, Gpu, Scenario
from tests.fake_nvml.scenario import Driver as Machine
from tests.support.nvml_calls import ERRORS

PLACES = ("0000:1b:00.0", "0000:3b:00.0")
FIRST, SECOND = (
    Gpu(uuid=f"GPU-{number}", pci_bus_id=f"0000{place.upper()}", utilization_percent=50)
    for number, place in enumerate(PLACES)
)
BY_INDEX = "nvmlDeviceGetHandleByIndex_v2"
BY_PLACE = "nvmlDeviceGetHandleByPciBusId_v2"


class Host:
    """Two GPUs, the kernel's folders about them, and the driver under test."""

    def __init__(self, nvml: FakeNvml, folder: Path) -> None:
        self.nvml = nvml
        self._folder = folder
        for place in PLACES:
            (folder / "gpus" / place).mkdir(parents=True)
            self.put(place, "active")
        nvml.write(Scenario([FIRST, SECOND]))
        self.driver = Driver(pci_folder=str(folder), gpu_folder=str(folder / "gpus"))

    def put(self, place: str, status: str) -> None:
        power = self._folder / place / "power"
        power.mkdir(parents=True, exist_ok=True)
        (power / "control").write_text("auto\n")
        (power / "runtime_status").write_text(f"{status}\n")

    def set_control(self, place: str, word: str) -> None:
        """`auto` lets the kernel put the GPU to sleep, `on` does not."""
        (self._folder / place / "power" / "control").write_text(f"{word}\n")

    def run_round(self, now: float) -> list[GpuReading]:
        """Run one round of the shared worker at `now`; return the readings shown after it."""
        if self.driver.is_due(now):
            self.driver.open(now, is_calm=True)
        else:
            self.driver.check_for_changes(now)
        for slot in self.driver.slots:
            slot.refresh(now)
        readings = [
            slot.absent or (slot.latest and slot.latest.reading) for slot in self.driver.slots
        ]
        return [reading for reading in readings if reading is not None]


@pytest.fixture
def host(fake_nvml: FakeNvml, tmp_path: Path) -> Iterator[Host]:
    host = Host(fake_nvml, tmp_path)
    yield host
    host.driver.close()


def states(readings: list[GpuReading]) -> list[tuple[int, str | None, str]]:
    return [(each.identity.number, each.identity.uuid, each.state) for each in readings]


def read_until(watch: Watchdog, first: Callable[[GpuReading], bool]) -> list[GpuReading]:
    """All GPUs, as soon as the first satisfies `first`."""
    give_up_at = time.monotonic() + 30.0
    while not first((gpus := watch.collect(moment()).gpus)[0]):
        assert time.monotonic() < give_up_at, gpus
        time.sleep(0.02)
    return list(gpus)


def test_a_gpu_that_is_asleep_at_the_start_is_not_opened(host: Host) -> None:
    host.put(PLACES[0], "suspended")

    readings = [host.run_round(float(second)) for second in range(20)][-1]

    assert states(readings) == [(0, None, "asleep"), (1, "GPU-1", "ok")]
    assert readings[0].identity.pci_bus_id == "00000000:1B:00.0"
    assert (host.nvml.calls(BY_INDEX), host.nvml.calls(BY_PLACE)) == (0, 1)
    assert host.nvml.calls("nvmlDeviceGetUUID") == 1


def test_a_gpu_that_wakes_up_is_opened_without_reopening_the_others(host: Host) -> None:
    host.put(PLACES[0], "suspended")
    host.run_round(0.0)
    host.put(PLACES[0], "active")

    readings = host.run_round(1.0)

    assert states(readings) == [(0, "GPU-0", "ok"), (1, "GPU-1", "ok")]
    assert host.nvml.calls("nvmlInitWithFlags") == 1
    assert host.nvml.calls("nvmlDeviceGetUUID") == 2


def test_nvml_stays_closed_while_all_gpus_are_asleep(host: Host) -> None:
    for place in PLACES:
        host.put(place, "suspended")

    asleep = [host.run_round(float(second)) for second in range(20)][-1]
    calls = host.nvml.calls()
    host.put(PLACES[1], "active")
    awake = [host.run_round(second) for second in (20.0, 21.0)][-1]

    assert states(asleep) == [(0, None, "asleep"), (1, None, "asleep")]
    assert (calls, host.driver.finding) == (0, None)
    assert states(awake) == [(0, None, "asleep"), (1, "GPU-1", "ok")]


def test_a_gpu_that_falls_asleep_keeps_its_identity(host: Host) -> None:
    (before, _) = host.run_round(0.0)
    host.put(PLACES[0], "suspended")

    (after, _) = host.run_round(5.0)

    assert after == GpuReading(
        before.identity,
        "asleep",
        "asleep to save power",
        memory_kind="device",
        memory_total_bytes=before.memory_total_bytes,
    )
    assert after.identity.name and after.memory_total_bytes


def test_a_gpu_that_is_asleep_during_a_reopening_keeps_its_identity(host: Host) -> None:
    host.run_round(0.0)
    host.put(PLACES[0], "suspended")
    (before, _) = host.run_round(5.0)
    host.nvml.write(Scenario([FIRST, SECOND], Machine(generation=2)))
    opened = host.nvml.calls("nvmlDeviceGetUUID")

    (after, other) = [host.run_round(second) for second in (6.0, 7.0)][-1]

    assert after == before and other.state == "ok"
    assert host.nvml.calls("nvmlDeviceGetUUID") == opened + 1


def test_a_gpu_that_was_first_seen_asleep_has_one_row_after_a_reopening(host: Host) -> None:
    host.put(PLACES[0], "suspended")
    host.run_round(0.0)
    host.put(PLACES[0], "active")
    host.run_round(1.0)
    host.nvml.write(Scenario([FIRST, SECOND], Machine(generation=2)))

    readings = [host.run_round(second) for second in (2.0, 3.0)][-1]

    assert states(readings) == [(0, "GPU-0", "ok"), (1, "GPU-1", "ok")]


@pytest.mark.processes
def test_opening_a_gpu_is_retried_after_it_failed_on_waking_up(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in host.nvml.environment().items():
        monkeypatch.setenv(name, value)
    host.put(PLACES[0], "suspended")
    host.run_round(0.0)
    host.put(PLACES[0], "active")
    host.nvml.write(Scenario([FIRST, SECOND], calls=[Call(BY_PLACE, error="UNKNOWN")]))
    broken = host.run_round(1.0)
    host.nvml.write(Scenario([FIRST, SECOND]))

    healed = run_rounds(host.driver, 2, 2 + RETURN_SECONDS)

    assert [reading.state for reading in broken] == ["lost", "ok"]
    assert states(healed) == [(0, "GPU-0", "ok"), (1, "GPU-1", "ok")]


@pytest.mark.parametrize(
    ("call", "function"),
    [
        (Call(BY_PLACE, hang=True), "nvmlDeviceGetHandleByPciBusId"),
        (Call("nvmlDeviceGetTemperature", hang=True, gpu=0), "nvmlDeviceGetTemperature"),
    ],
)
def test_a_gpu_that_hangs_on_waking_up_affects_no_other(
    host: Host, call: Call, function: str
) -> None:
    host.put(PLACES[0], "suspended")
    watch = Watchdog(host.driver, patience=20.0, timeout=20.0, slow=0.2)
    watch.collect(moment())
    host.put(PLACES[0], "active")
    host.nvml.write(Scenario([FIRST, SECOND], calls=[call]))
    try:
        hung = read_until(watch, lambda gpu: "stuck" in (gpu.reason or ""))
        host.nvml.write(Scenario([FIRST, SECOND]))
        healed = read_until(watch, lambda gpu: gpu.state == "ok")
    finally:
        watch.close()

    assert states(hung) == [(0, None, "error"), (1, "GPU-1", "ok")]
    assert f"stuck in {function} of GPU 0 since" in str(hung[0].reason)
    assert states(healed) == [(0, "GPU-0", "ok"), (1, "GPU-1", "ok")]


def test_nvml_may_lack_a_gpu_that_the_kernel_module_lists_beside_a_sleeping_one(host: Host) -> None:
    host.put(PLACES[0], "suspended")
    host.nvml.write(Scenario([FIRST]))

    assert states(host.run_round(0.0)) == [(0, None, "asleep")]


def test_all_gpus_are_opened_where_nvml_counts_more_than_the_kernel_module_lists(
    host: Host,
) -> None:
    host.put(PLACES[0], "suspended")
    unlisted = Gpu(uuid="GPU-2", pci_bus_id="00000000:5E:00.0")
    host.nvml.write(Scenario([FIRST, SECOND, unlisted]))

    readings = host.run_round(0.0)

    assert states(readings) == [(0, "GPU-0", "asleep"), (1, "GPU-1", "ok"), (2, "GPU-2", "ok")]
    assert host.nvml.calls(BY_INDEX) == 3


@pytest.mark.parametrize("function", [BY_PLACE, "nvmlDeviceGetIndex"])
def test_a_gpu_that_cannot_be_opened_does_not_affect_a_sleeping_one(
    host: Host, function: str
) -> None:
    host.run_round(0.0)
    host.put(PLACES[0], "suspended")
    for code in ERRORS:
        host.nvml.write(Scenario([FIRST, SECOND], calls=[Call(function, error=code)]))
        host.driver.open(0.0, is_calm=True)

        sleeper, hit = (slot.absent for slot in host.driver.slots)

        assert sleeper and sleeper.state == "asleep", code
        assert hit and hit.state in ("lost", "error") and hit.reason, code
        assert hit.identity.uuid == "GPU-1", code
