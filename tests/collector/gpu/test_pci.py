"""Which GPUs on the PCI bus the driver ought to list, from a tree in place of sysfs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.gpu.driver import COUNT_SECONDS, Driver
from gpu_monitor.collector.gpu.pci import LOOK_SECONDS, Bus
from gpu_monitor.collector.gpu.watchdog import Watch
from tests.fake_nvml import FakeNvml, Gpu, Scenario
from tests.fake_nvml.scenario import Driver as NvidiaDriver

H100, GT710 = "0x2330", "0x128b"
LISTED = ["00000000:1A:00.0"]
MISSING = "0000:3b:00.0"
NOT_LISTED = (
    "GPU 0000:3B:00.0 is on the bus, the driver does not list it:"
    " look for NVRM and Xid in the kernel log",
)
NOT_TAKEN = (
    "GPU 0000:3B:00.0 is on the bus, no driver has taken it:"
    " look for NVRM and Xid in the kernel log",
)


class Machine:
    """A machine's PCI devices, the kernel module's folder and the device files, below `root`."""

    def __init__(self, root: Path) -> None:
        self.pci, self.gpus, self.dev = root / "pci", root / "gpus", root / "dev"
        self.group = root / "cgroup"
        for folder in (self.pci, self.gpus, self.dev):
            folder.mkdir()
        self.add("0000:1a:00.0", minor=0)
        self.add("0000:1a:00.1", driver="snd_hda_intel", kind="0x040300")
        self.add("0000:00:1f.0", driver=None, vendor="0x8086", kind="0x060100")

    def add(
        self,
        place: str,
        driver: str | None = "nvidia",
        device: str = H100,
        vendor: str = "0x10de",
        kind: str = "0x030200",
        minor: int | None = None,
        excluded: str = "No",
    ) -> Path:
        folder = self.pci / place
        folder.mkdir()
        for name, value in (("vendor", vendor), ("class", kind), ("device", device)):
            (folder / name).write_text(f"{value}\n")
        if driver is not None:
            (folder / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
        if minor is not None:
            (self.dev / f"nvidia{minor}").touch()
            (self.gpus / place).mkdir()
            (self.gpus / place / "information").write_text(
                f"Model: \t\t NVIDIA H100\nDevice Minor: \t {minor}\nGPU Excluded:\t {excluded}\n"
            )
        return folder

    def bus(self) -> Bus:
        return Bus(str(self.pci), str(self.gpus), str(self.dev), str(self.group))

    def problems(self) -> tuple[str, ...]:
        bus = self.bus()
        bus.look(LISTED, 0.0)
        return bus.problems


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_all_is_well_where_each_gpu_is_listed(machine: Machine) -> None:
    assert machine.problems() == ()


def test_a_gpu_that_the_driver_has_and_does_not_list_is_told(machine: Machine) -> None:
    machine.add(MISSING, minor=1)

    assert machine.problems() == NOT_LISTED


def test_a_gpu_that_no_driver_took_is_told_where_others_of_its_kind_are(machine: Machine) -> None:
    machine.add(MISSING, driver=None)

    assert machine.problems() == NOT_TAKEN


@pytest.mark.parametrize("driver", ["vfio-pci", "nouveau"])
def test_a_gpu_of_another_driver_is_not_missed(machine: Machine, driver: str) -> None:
    machine.add(MISSING, driver=driver)

    assert machine.problems() == ()


def test_an_old_card_for_the_screen_is_not_missed(machine: Machine) -> None:
    machine.add(MISSING, driver=None, device=GT710, kind="0x030000")

    assert machine.problems() == ()


def test_a_gpu_that_was_excluded_is_not_missed(machine: Machine) -> None:
    machine.add(MISSING, minor=1, excluded="Yes")

    assert machine.problems() == ()


def test_a_virtual_function_is_not_missed(machine: Machine) -> None:
    (machine.add(MISSING, minor=1) / "physfn").symlink_to("../0000:1a:00.0")

    assert machine.problems() == ()


def test_what_a_container_was_not_given_is_not_missed(machine: Machine) -> None:
    machine.add(MISSING, minor=1)
    (machine.dev / "nvidia1").unlink()

    assert machine.problems() == ()


@pytest.mark.parametrize(
    "group", ["0::/system.slice/slurmstepd.scope/job_12/step_0", f"0::/docker/{64 * 'a'}"]
)
def test_in_a_batch_job_or_container_nothing_is_missed(machine: Machine, group: str) -> None:
    machine.group.write_text(group)
    machine.add(MISSING, minor=1)

    assert machine.problems() == ()


def test_nothing_is_said_where_a_listed_one_has_no_place(machine: Machine) -> None:
    machine.add(MISSING, minor=1)
    bus = machine.bus()

    bus.look([*LISTED, None], 0.0)

    assert bus.problems == ()


def test_without_pci_nothing_is_said(tmp_path: Path) -> None:
    bus = Bus(str(tmp_path / "none"), str(tmp_path), str(tmp_path))

    bus.look([], 0.0)

    assert bus.problems == ()


def test_a_domain_may_have_more_than_four_digits(machine: Machine) -> None:
    machine.add("10000:01:00.0", minor=2)
    bus = machine.bus()

    bus.look([*LISTED, "00010000:01:00.0"], 0.0)

    assert bus.problems == ()


def test_it_looks_once_a_minute_and_when_the_list_is_another(machine: Machine) -> None:
    bus = machine.bus()
    bus.look(LISTED, 0.0)
    machine.add(MISSING, minor=1)

    bus.look(LISTED, LOOK_SECONDS - 1)
    before = bus.problems
    bus.look(LISTED, LOOK_SECONDS)
    after = bus.problems
    bus.look([*LISTED, "00000000:3B:00.0"], LOOK_SECONDS + 1)

    assert (before, after, bus.problems) == ((), NOT_LISTED, ())


@pytest.fixture
def watch(fake_nvml: FakeNvml, machine: Machine) -> Iterator[Watch]:
    driver = Driver(str(machine.pci), str(machine.gpus), str(machine.dev))
    watch = Watch(driver, patience=20.0, timeout=60.0, slow=10.0, clock=lambda: 0.0)
    yield watch
    watch.close()


def look(watch: Watch, now: float) -> tuple[str, ...]:
    return watch.read(Moment(now, now, 1_700_000_000.0 + now)).problems


def test_a_gpu_that_is_missing_from_the_start_is_told_seconds_after_it(
    fake_nvml: FakeNvml, watch: Watch, machine: Machine
) -> None:
    machine.add(MISSING, minor=1)
    fake_nvml.write(Scenario([Gpu(pci_bus_id=LISTED[0])]))

    said = [look(watch, now) for now in (0.0, COUNT_SECONDS - 1, COUNT_SECONDS)]

    assert said == [(), (), NOT_LISTED]


def test_a_gpu_that_fell_off_later_has_a_row_and_is_not_told_twice(
    fake_nvml: FakeNvml, watch: Watch, machine: Machine
) -> None:
    machine.add(MISSING, minor=1)
    both = [Gpu(pci_bus_id=LISTED[0]), Gpu(pci_bus_id="00000000:3B:00.0", lost=True)]
    fake_nvml.write(Scenario(both))

    said = [look(watch, now) for now in (0.0, COUNT_SECONDS, COUNT_SECONDS + LOOK_SECONDS)]

    assert said == [()] * 3


def test_while_there_is_no_driver_that_alone_is_told(
    fake_nvml: FakeNvml, watch: Watch, machine: Machine
) -> None:
    machine.add(MISSING, minor=1)
    gpus = [Gpu(pci_bus_id=LISTED[0])]
    fake_nvml.write(Scenario(gpus, NvidiaDriver(generation=1)))
    before = [look(watch, now) for now in (0.0, COUNT_SECONDS)][-1]
    gone = NvidiaDriver(generation=2, init_error="DRIVER_NOT_LOADED")
    fake_nvml.write(Scenario(gpus, gone))

    after = [look(watch, COUNT_SECONDS + second) for second in (1, 2)][-1]

    assert before == NOT_LISTED
    assert after == ("NVIDIA driver not loaded: load its kernel module (modprobe nvidia)",)
