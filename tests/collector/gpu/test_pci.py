"""GPUs on the PCI bus that the driver should list, from folders in place of sysfs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.gpu.driver import CHANGE_CHECK_SECONDS, Driver
from gpu_monitor.collector.gpu.pci import (
    PCI_SCAN_SECONDS,
    POWER_CONTROL_SECONDS,
    PciBus,
    PciPower,
    nvml_bus_id,
)
from gpu_monitor.collector.gpu.watchdog import Watchdog
from tests.fake_nvml import FakeNvml, Gpu, Scenario
from tests.fake_nvml.scenario import Driver as NvidiaDriver
from tests.support.finding_lines import driver_lines

H100, GT710 = "0x2330", "0x128b"
LISTED = ["00000000:1A:00.0"]
MISSING = "0000:3b:00.0"
NOT_LISTED = (
    "GPU 0000:3B:00.0 is on the PCI bus, but the driver does not list it:"
    " search the kernel log for NVRM and Xid",
)
NOT_BOUND = (
    "GPU 0000:3B:00.0 is on the PCI bus, but no driver is bound to it:"
    " search the kernel log for NVRM and Xid",
)


def texts(bus: PciBus) -> tuple[str, ...]:
    return tuple(finding.line for finding in bus.findings)


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

    def bus(self) -> PciBus:
        return PciBus(str(self.pci), str(self.gpus), str(self.dev), str(self.group))

    def missing(self) -> tuple[str, ...]:
        bus = self.bus()
        bus.scan(LISTED, 0.0)
        return texts(bus)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_there_is_no_problem_where_every_gpu_is_listed(machine: Machine) -> None:
    assert machine.missing() == ()


def test_a_gpu_bound_to_the_driver_but_not_listed_is_missing(machine: Machine) -> None:
    machine.add(MISSING, minor=1)

    assert machine.missing() == NOT_LISTED


def test_an_unbound_gpu_is_missing_where_others_of_its_model_are_listed(machine: Machine) -> None:
    machine.add(MISSING, driver=None)

    assert machine.missing() == NOT_BOUND


@pytest.mark.parametrize("driver", ["vfio-pci", "nouveau"])
def test_a_gpu_bound_to_another_driver_is_not_missing(machine: Machine, driver: str) -> None:
    machine.add(MISSING, driver=driver)

    assert machine.missing() == ()


def test_an_old_display_card_is_not_missing(machine: Machine) -> None:
    machine.add(MISSING, driver=None, device=GT710, kind="0x030000")

    assert machine.missing() == ()


def test_an_excluded_gpu_is_not_missing(machine: Machine) -> None:
    machine.add(MISSING, minor=1, excluded="Yes")

    assert machine.missing() == ()


def test_a_virtual_function_is_not_missing(machine: Machine) -> None:
    (machine.add(MISSING, minor=1) / "physfn").symlink_to("../0000:1a:00.0")

    assert machine.missing() == ()


def test_a_gpu_that_a_container_was_not_given_is_not_missing(machine: Machine) -> None:
    machine.add(MISSING, minor=1)
    (machine.dev / "nvidia1").unlink()

    assert machine.missing() == ()


@pytest.mark.parametrize(
    "group",
    [
        "0::/system.slice/slurmstepd.scope/job_12/step_0",
        "0::/system.slice/slurmstepd.scope/s5K1KKYAYG5D00/step_0/user/task_0",
        f"0::/docker/{64 * 'a'}",
    ],
)
def test_nothing_is_missing_in_a_batch_job_or_container(machine: Machine, group: str) -> None:
    machine.group.write_text(group)
    machine.add(MISSING, minor=1)

    assert machine.missing() == ()


def test_nothing_is_reported_where_a_listed_gpu_has_no_bus_id(machine: Machine) -> None:
    machine.add(MISSING, minor=1)
    bus = machine.bus()

    bus.scan([*LISTED, None], 0.0)

    assert texts(bus) == ()


def test_nothing_is_reported_without_a_pci_bus(tmp_path: Path) -> None:
    bus = PciBus(str(tmp_path / "none"), str(tmp_path), str(tmp_path))

    bus.scan([], 0.0)

    assert texts(bus) == ()


def test_a_pci_domain_may_have_more_than_four_digits(machine: Machine) -> None:
    machine.add("10000:01:00.0", minor=2)
    bus = machine.bus()

    bus.scan([*LISTED, "00010000:01:00.0"], 0.0)

    assert texts(bus) == ()


def test_the_bus_is_scanned_once_a_minute_and_when_the_list_changes(machine: Machine) -> None:
    bus = machine.bus()
    bus.scan(LISTED, 0.0)
    machine.add(MISSING, minor=1)

    bus.scan(LISTED, PCI_SCAN_SECONDS - 1)
    before = texts(bus)
    bus.scan(LISTED, PCI_SCAN_SECONDS)
    after = texts(bus)
    bus.scan([*LISTED, "00000000:3B:00.0"], PCI_SCAN_SECONDS + 1)

    assert (before, after, texts(bus)) == ((), NOT_LISTED, ())


@pytest.fixture
def watch(fake_nvml: FakeNvml, machine: Machine) -> Iterator[Watchdog]:
    driver = Driver(str(machine.pci), str(machine.gpus), str(machine.dev))
    watch = Watchdog(driver, patience=20.0, timeout=60.0, slow=10.0, clock=lambda: 0.0)
    yield watch
    watch.close()


def lines_at(watch: Watchdog, now: float) -> tuple[str, ...]:
    return driver_lines(watch.collect(Moment(now, now, 1_700_000_000.0 + now)))


def test_a_gpu_missing_from_the_start_is_reported_within_seconds(
    fake_nvml: FakeNvml, watch: Watchdog, machine: Machine
) -> None:
    machine.add(MISSING, minor=1)
    fake_nvml.write(Scenario([Gpu(pci_bus_id=LISTED[0])]))

    seen = [lines_at(watch, now) for now in (0.0, CHANGE_CHECK_SECONDS - 1, CHANGE_CHECK_SECONDS)]

    assert seen == [(), (), NOT_LISTED]


@pytest.mark.processes
def test_a_gpu_that_fell_off_later_has_a_row_and_is_not_reported_twice(
    fake_nvml: FakeNvml, watch: Watchdog, machine: Machine
) -> None:
    machine.add(MISSING, minor=1)
    both = [Gpu(pci_bus_id=LISTED[0]), Gpu(pci_bus_id="00000000:3B:00.0", lost=True)]
    fake_nvml.write(Scenario(both))

    seen = [
        lines_at(watch, now)
        for now in (0.0, CHANGE_CHECK_SECONDS, CHANGE_CHECK_SECONDS + PCI_SCAN_SECONDS)
    ]

    lost = "GPU 1: fell off the bus (GPU is lost): reset the GPU or reboot"
    assert seen == [(lost,)] * 3


def test_without_a_driver_only_its_absence_is_reported(
    fake_nvml: FakeNvml, watch: Watchdog, machine: Machine
) -> None:
    machine.add(MISSING, minor=1)
    gpus = [Gpu(pci_bus_id=LISTED[0])]
    fake_nvml.write(Scenario(gpus, NvidiaDriver(generation=1)))
    before = [lines_at(watch, now) for now in (0.0, CHANGE_CHECK_SECONDS)][-1]
    gone = NvidiaDriver(generation=2, init_error="DRIVER_NOT_LOADED")
    fake_nvml.write(Scenario(gpus, gone))

    after = [lines_at(watch, CHANGE_CHECK_SECONDS + second) for second in (1, 2)][-1]

    assert before == NOT_LISTED
    assert after == ("NVIDIA driver not loaded: load its kernel module (modprobe nvidia)",)


def test_only_a_device_that_may_be_suspended_is_asleep(tmp_path: Path) -> None:
    power = tmp_path / "0000:3b:00.0" / "power"
    power.mkdir(parents=True)
    (power / "control").write_text("on\n")
    (power / "runtime_status").write_text("suspended\n")
    sleep = PciPower("00000000:3B:00.0", str(tmp_path))
    awake = sleep.is_asleep(0.0)
    (power / "control").write_text("auto\n")

    assert [awake, sleep.is_asleep(1.0), sleep.is_asleep(POWER_CONTROL_SECONDS)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("address", "named"),
    [("0000:3b:00.0", "00000000:3B:00.0"), ("10000:e1:00.0", "00010000:E1:00.0")],
)
def test_a_pci_address_is_found_by_its_name_in_nvml_and_in_the_kernel(
    tmp_path: Path, address: str, named: str
) -> None:
    power = tmp_path / address / "power"
    power.mkdir(parents=True)
    (power / "control").write_text("auto\n")
    (power / "runtime_status").write_text("suspending\n")

    assert nvml_bus_id(address) == named
    assert PciPower(named, str(tmp_path)).is_asleep(0.0)


def test_a_device_that_is_not_on_the_bus_counts_as_awake(tmp_path: Path) -> None:
    assert not PciPower("00000000:3B:00.0", str(tmp_path)).is_asleep(0.0)
    assert not PciPower(None, str(tmp_path)).is_asleep(0.0)
