"""Dead GPUs beside healthy ones, over minutes of a clock that runs ahead of time."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.nvml_errors import GPU_NOT_FOUND, words
from gpu_monitor.collector.gpu.openings import CARRIED_SECONDS, OPENING_PATIENCE_SECONDS
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading
from gpu_monitor.collector.gpu.silence import SILENT_SECONDS
from gpu_monitor.collector.gpu.watchdog import Watchdog
from tests.fake_nvml import Call, FakeNvml, Gpu, Mig, Scenario
from tests.support.finding_lines import driver_lines
from tests.support.house import eventually

WALL = 1_700_000_000.0
PATIENCE, SLOW, TIMEOUT = 0.5, 0.25, 4.0
COUNT = 8
GPUS = [Gpu(uuid=f"GPU-{number}") for number in range(COUNT)]
DEAD = replace(GPUS[5], lost=True)
DIVIDED = replace(GPUS[5], migs=[Mig(), Mig()])
MINUTES = 60
OPENING = "nvmlDeviceGetHandle*"


class Host:
    """A collector's watchdog and a clock of its own, which has a sample every second.

    A second is over as soon as all GPUs but those named in `dead` have been read, and after a
    second at the latest.
    """

    def __init__(self, fake_nvml: FakeNvml, folder: Path) -> None:
        self.nvml = fake_nvml
        self.dead: set[str | None] = {None}
        self.second = 1000.0
        self._begun = time.monotonic()
        self.gpu_folder, self.pci_folder = folder / "gpus", folder / "pci"
        self.driver = Driver(str(self.pci_folder), str(self.gpu_folder), str(folder))
        self.watch = Watchdog(self.driver, PATIENCE, TIMEOUT, SLOW, self._clock)

    def collect(self) -> DriverReading:
        self.second += 1.0
        self._begun = time.monotonic()
        reading = self.watch.collect(Moment(self.second, self.second, WALL + self.second))
        while time.monotonic() < self._begun + 1.0 and not self._is_read():
            time.sleep(0.001)
        return reading

    def unhealthy(self, readings: list[DriverReading]) -> list[GpuReading]:
        """Every reading of a GPU that is not dead, and yet is not ok."""
        gpus = [gpu for reading in readings for gpu in reading.gpus]
        return [gpu for gpu in gpus if gpu.state != "ok" and gpu.identity.uuid not in self.dead]

    def collect_until(self, fulfilled: Callable[[DriverReading], bool]) -> list[DriverReading]:
        """Every reading, one a second, up to the first that satisfies `fulfilled`."""
        readings: list[DriverReading] = []

        def is_fulfilled() -> bool:
            readings.append(self.collect())
            return fulfilled(readings[-1])

        eventually(is_fulfilled, "a reading")
        return readings

    def plug_in(self, number: int) -> None:
        """The kernel lists the GPU, in folders that are not the ones before."""
        for folder in (self.gpu_folder, self.pci_folder):
            folder.mkdir(exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=folder.parent))
            new.rename(folder / f"0000:{number + 16:x}:00.0")

    def unplug(self, number: int) -> None:
        for folder in (self.gpu_folder, self.pci_folder):
            place = folder / f"0000:{number + 16:x}:00.0"
            place.rename(folder.parent / f"{folder.name} unplugged {number}")

    def await_probe(self) -> None:
        """Let the next probe begin and end."""
        probe = self.driver.probe
        self.collect_until(lambda _: probe.is_running() or probe.result() is not None)
        eventually(lambda: not self.driver.probe.is_running(), "the probe's end")

    def _clock(self) -> float:
        return self.second + time.monotonic() - self._begun

    def _is_read(self) -> bool:
        healthy = [slot for slot in self.driver.slots if slot.identity.uuid not in self.dead]
        return all(slot.latest and slot.latest.at >= self.second for slot in healthy)


@pytest.fixture
def host(
    fake_nvml: FakeNvml, processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Host]:
    for name, value in fake_nvml.environment().items():
        monkeypatch.setenv(name, value)
    host = Host(fake_nvml, tmp_path)
    yield host
    host.watch.close()
    fake_nvml.close()
    for thread in threading.enumerate():
        if thread.name.startswith(("nvml", "gpu probe")):
            thread.join(30.0)


def states(reading: DriverReading) -> dict[str | None, str]:
    return {gpu.identity.uuid: gpu.state for gpu in reading.gpus}


def is_complete(reading: DriverReading) -> bool:
    return list(states(reading).values()) == ["ok"] * COUNT


def with_gpus(**changed: Gpu) -> list[Gpu]:
    """GPUS with others at the positions named like `at5`."""
    return [changed.get(f"at{number}", gpu) for number, gpu in enumerate(GPUS)]


@pytest.mark.parametrize(
    ("gpus", "calls"),
    [
        (with_gpus(at5=DEAD), [Call(OPENING, delay_ms=6000, gpu=5)]),
        (with_gpus(at5=DEAD), [Call("nvmlDevice*", delay_ms=8000, gpu=5)]),
        (GPUS, [Call("nvmlDevice*", delay_ms=6000, error="UNKNOWN", gpu=5)]),
        (
            with_gpus(at5=DEAD, at2=replace(GPUS[2], lost=True)),
            [Call(OPENING, delay_ms=6000, gpu=5), Call(OPENING, delay_ms=2000)],
        ),
        (with_gpus(at5=replace(DIVIDED, lost=True)), [Call(OPENING, delay_ms=6000, gpu=5)]),
    ],
    ids=["slow to open", "slow at all", "unknown error", "two", "MIG"],
)
def test_healthy_gpus_are_ok_in_every_sample_beside_a_dead_one(
    host: Host, gpus: list[Gpu], calls: list[Call]
) -> None:
    host.nvml.write(Scenario([replace(gpu, lost=False) for gpu in gpus]))
    host.collect_until(is_complete)
    host.dead |= {"GPU-5", *(gpu.uuid for gpu in gpus if gpu.lost)}
    host.nvml.write(Scenario(gpus, calls=calls))

    readings = [host.collect() for _ in range(10 * MINUTES)]

    assert host.unhealthy(readings) == []
    assert all(len(reading.gpus) == COUNT for reading in readings)
    assert not is_complete(readings[-1])
    assert host.nvml.calls("nvmlInitWithFlags") == 1


def test_a_gpu_that_is_dead_at_the_start_delays_no_other(host: Host) -> None:
    calls = [Call(OPENING, delay_ms=6000, gpu=5)]
    host.nvml.write(Scenario(with_gpus(at5=DEAD), calls=calls))
    host.dead.add("GPU-5")

    readings = host.collect_until(lambda reading: len(reading.gpus) == COUNT - 1)
    early = host.second
    readings += [host.collect() for _ in range(10 * MINUTES)]

    assert early < 1005.0
    assert host.unhealthy(readings) == []
    assert len(readings[-1].gpus) == COUNT
    assert host.nvml.calls("nvmlInitWithFlags") == 1


def test_healthy_gpus_show_their_last_readings_while_nvml_is_opened_for_one_that_is_back(
    host: Host,
) -> None:
    host.dead.add("GPU-5")
    host.nvml.write(Scenario(with_gpus(at5=DEAD)))
    host.collect_until(lambda reading: len(reading.gpus) == COUNT)
    slow = Call(OPENING, delay_ms=int(800 * OPENING_PATIENCE_SECONDS))
    host.nvml.write(Scenario(GPUS, calls=[slow]))
    host.await_probe()

    readings = host.collect_until(is_complete)

    assert host.unhealthy(readings) == []
    assert TIMEOUT < sum(reading.gpus[0].carried for reading in readings) < CARRIED_SECONDS
    assert host.nvml.calls("nvmlShutdown") == 1


def test_a_gpu_that_dies_while_it_is_opened_again_costs_no_other(host: Host) -> None:
    host.dead.add("GPU-5")
    host.nvml.write(Scenario(with_gpus(at5=DEAD)))
    host.collect_until(lambda reading: len(reading.gpus) == COUNT)
    dying = Call(OPENING, delay_ms=6000, error="UNKNOWN", gpu=2)
    host.nvml.write(Scenario(GPUS, calls=[dying]))
    host.await_probe()
    host.dead = {None, "GPU-2", "GPU-5"}

    readings = host.collect_until(lambda reading: states(reading).get("GPU-2") == "lost")

    assert host.unhealthy(readings) == []
    assert {**states(readings[-1]), "GPU-2": "ok"} == dict.fromkeys(states(readings[-1]), "ok")


def test_a_gpu_whose_opening_hangs_is_given_up_and_found_once_it_returns(host: Host) -> None:
    host.dead.add("GPU-5")
    host.nvml.write(Scenario(with_gpus(at5=DEAD)))
    host.collect_until(lambda reading: len(reading.gpus) == COUNT)
    host.nvml.write(Scenario(GPUS))
    host.await_probe()
    host.nvml.write(Scenario(GPUS, calls=[Call(OPENING, hang=True, gpu=5)]))

    readings = host.collect_until(lambda reading: reading.gpus[5].state == "error")
    host.nvml.write(Scenario(GPUS))
    readings += host.collect_until(is_complete)

    assert host.unhealthy(readings) == []


def test_last_readings_are_not_shown_for_ever_while_the_opening_of_nvml_hangs(host: Host) -> None:
    host.dead.add("GPU-5")
    host.nvml.write(Scenario(with_gpus(at5=DEAD)))
    host.collect_until(lambda reading: len(reading.gpus) == COUNT)
    host.nvml.write(Scenario(GPUS))
    host.await_probe()
    host.nvml.write(Scenario(GPUS, calls=[Call("nvmlInit*", hang=True)]))
    host.collect_until(lambda reading: reading.gpus[0].carried)
    host.dead |= set(states(host.collect()))

    host.second += CARRIED_SECONDS - 10
    carried = host.collect()
    host.second += 10
    outdated = host.collect()
    host.nvml.write(Scenario(GPUS))
    host.collect_until(is_complete)

    assert carried.gpus[0].carried and carried.gpus[0].state == "ok"
    stuck, shown, lost = driver_lines(carried)
    assert "NVML stuck in nvmlInit since" in stuck
    assert shown.startswith("NVML is being opened again: until then, GPU 0, 1, 2, 3, 4, 6, 7 ")
    assert outdated.gpus[0].state == "error" and outdated.gpus[0].reason == stuck
    assert driver_lines(outdated) == (stuck, lost)


def test_a_gpu_that_comes_back_while_it_is_probed_is_found_by_the_next_probe(host: Host) -> None:
    host.dead.add("GPU-5")
    hang = Call("nvmlInit*", hang=True)
    host.nvml.write(Scenario(with_gpus(at5=DEAD)))
    host.collect_until(lambda reading: len(reading.gpus) == COUNT)
    host.nvml.write(Scenario(with_gpus(at5=DEAD), calls=[hang]))
    host.collect_until(lambda _: host.driver.probe.is_running())
    host.nvml.write(Scenario(GPUS))

    readings = host.collect_until(is_complete)

    assert host.unhealthy(readings) == []


def test_two_dead_gpus_are_probed_in_turn(host: Host) -> None:
    host.dead |= {"GPU-2", "GPU-5"}
    dead = with_gpus(at2=replace(GPUS[2], lost=True), at5=DEAD)
    host.nvml.write(Scenario(dead))
    host.collect_until(lambda reading: len(reading.gpus) == COUNT)
    host.nvml.write(Scenario(with_gpus(at2=dead[2])))

    readings = host.collect_until(lambda reading: states(reading).get("GPU-5") == "ok")
    host.nvml.write(Scenario(GPUS))
    readings += host.collect_until(is_complete)

    assert host.unhealthy(readings) == []


def test_a_divided_gpu_that_is_back_has_its_slices_again(host: Host) -> None:
    host.nvml.write(Scenario(with_gpus(at5=DIVIDED)))
    host.collect_until(is_complete)
    host.dead.add("GPU-5")
    host.nvml.write(Scenario(with_gpus(at5=replace(DIVIDED, lost=True))))
    (*_, lost) = host.collect_until(lambda reading: states(reading)["GPU-5"] == "lost")
    host.nvml.write(Scenario(with_gpus(at5=DIVIDED)))

    (*_, back) = host.collect_until(is_complete)

    assert [len(reading.gpus[5].slices) for reading in (lost, back)] == [0, 2]


def test_a_gpu_that_was_unplugged_is_not_probed_and_found_once_it_is_plugged_in(
    host: Host,
) -> None:
    for number in range(COUNT):
        host.plug_in(number)
    host.nvml.write(Scenario(GPUS))
    host.collect_until(is_complete)
    host.dead.add("GPU-5")
    host.unplug(5)
    host.nvml.write(Scenario({at: gpu for at, gpu in enumerate(GPUS) if at != 5}))

    readings = [host.collect() for _ in range(2 * MINUTES)]
    opened = host.nvml.calls("nvmlInitWithFlags")
    host.nvml.write(Scenario(GPUS))
    host.plug_in(5)
    readings += host.collect_until(is_complete)

    assert host.unhealthy(readings) == []
    assert host.driver.probe.result() is None and opened == 1
    assert readings[MINUTES].gpus[5].reason == words(GPU_NOT_FOUND)


def test_a_gpu_that_is_replugged_between_two_checks_is_found_without_a_probe(host: Host) -> None:
    for number in range(COUNT):
        host.plug_in(number)
    host.nvml.write(Scenario(GPUS))
    host.collect_until(is_complete)
    host.dead.add("GPU-5")
    host.nvml.write(Scenario(with_gpus(at5=DEAD)))
    host.collect()
    host.nvml.write(Scenario(GPUS))
    host.unplug(5)
    host.plug_in(5)

    readings = host.collect_until(is_complete)

    assert host.unhealthy(readings) == []
    assert host.driver.probe.result() is None and len(readings) < 10


ALL_FAIL = [Call("nvmlDeviceGetCount*"), Call("nvmlDevice*", error="UNKNOWN")]
"""The first rule that matches applies: the driver still counts its GPUs."""


def test_nvml_is_opened_again_once_no_gpu_has_answered_for_a_while(host: Host) -> None:
    host.nvml.write(Scenario(GPUS))
    host.collect_until(is_complete)
    host.dead |= set(states(host.collect()))
    host.nvml.write(Scenario(GPUS, calls=ALL_FAIL))

    silent = host.collect_until(lambda _: host.nvml.calls("nvmlInitWithFlags") == 2)
    more = [host.collect() for _ in range(10 * MINUTES)]
    opened = host.nvml.calls("nvmlInitWithFlags")
    host.nvml.write(Scenario(GPUS))
    (*_, healed) = host.collect_until(is_complete)

    assert SILENT_SECONDS[0] <= len(silent) <= SILENT_SECONDS[0] + 10
    assert opened == 5  # after 30, 60, 120 and 240 seconds more
    assert "no GPU answers" not in str([driver_lines(reading) for reading in silent])
    ((problem,),) = {driver_lines(reading) for reading in more[10:]}
    assert problem.startswith("no GPU answers")
    assert driver_lines(healed) == (problem,) and driver_lines(host.collect()) == ()


def test_a_single_gpu_that_is_lost_is_opened_again_without_a_probe(host: Host) -> None:
    host.nvml.write(Scenario([DEAD]))
    host.dead.add("GPU-5")
    host.collect_until(lambda reading: len(reading.gpus) == 1)
    host.nvml.write(Scenario([GPUS[5]]))

    readings = host.collect_until(lambda reading: reading.gpus[0].state == "ok")

    assert len(readings) < SILENT_SECONDS[0] + 3
    assert host.driver.probe.result() is None


def test_a_gpu_that_reports_nothing_but_unknown_errors_does_not_close_nvml(host: Host) -> None:
    host.nvml.write(Scenario(GPUS))
    host.collect_until(is_complete)
    host.dead.add("GPU-5")
    calls = [Call("nvmlDevice*", error=code, gpu=5) for code in ("DRIVER_NOT_LOADED",)]
    host.nvml.write(Scenario(GPUS, calls=calls))

    readings = [host.collect() for _ in range(10 * MINUTES)]

    assert host.unhealthy(readings) == []
    assert host.nvml.calls("nvmlInitWithFlags") == 1
