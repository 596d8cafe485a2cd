"""`gpu-monitor check` on machines with and without a driver, with GPUs that cannot be read."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_monitor.collector.gpu.installation import DriverInstallation
from gpu_monitor.commands.check_gpus import report_lines
from tests.fake_nvml import Call, FakeNvml, Gpu, Mig, Scenario
from tests.fake_nvml.scenario import Driver

PROCESS_LISTS = [
    Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NO_PERMISSION", gpu=0)
    for kind in ("Compute", "MPSCompute", "Graphics")
]


def refuse(path: str, flags: int) -> int:
    """A kernel whose control group forbids every device."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)


class Machine:
    """The driver's files of a machine without a driver and without a GPU, until they are added."""

    def __init__(self, folder: Path, fake: FakeNvml) -> None:
        self.folder = folder
        self.fake = fake
        self.open_file: Callable[[str, int], int] = os.open
        for name in ("pci", "module", "dev"):
            (folder / name).mkdir()

    def add_gpu(self, kernel_driver: str = "") -> None:
        device = self.folder / "pci" / "0000:17:00.0"
        device.mkdir()
        (device / "vendor").write_text("0x10de\n")
        (device / "class").write_text("0x030200\n")
        if kernel_driver:
            (device / "driver").symlink_to(f"../../drivers/{kernel_driver}")

    def load_module(self) -> None:
        (self.folder / "module" / "version").write_text("NVRM version: 550\n")

    def report(self, scenario: Scenario) -> list[str]:
        """The lines about GPUs."""
        self.fake.write(scenario)
        pci, module, dev = (str(self.folder / name) for name in ("pci", "module", "dev"))
        here = DriverInstallation(pci, module, dev, self.open_file)
        return [str(line) for line in report_lines(1.0, here)]

    def report_unopened(self, error: str) -> str:
        """The only line about a library that cannot be initialized with this error."""
        (line,) = self.report(Scenario([Gpu()], Driver(init_error=error)))
        return line


@pytest.fixture
def machine(tmp_path: Path, fake_nvml: FakeNvml) -> Machine:
    folder = tmp_path / "machine"
    folder.mkdir()
    return Machine(folder, fake_nvml)


@pytest.mark.parametrize("error", ["LIBRARY_NOT_FOUND", "DRIVER_NOT_LOADED"])
def test_a_machine_without_a_gpu_needs_no_driver(machine: Machine, error: str) -> None:
    expected = "ok   gpus: no NVIDIA GPU in this machine; the page shows the rest"
    assert machine.report_unopened(error) == expected
    machine.add_gpu("vfio-pci")
    assert machine.report_unopened(error) == expected


def test_a_gpu_without_a_driver_fails(machine: Machine) -> None:
    machine.add_gpu()
    line = machine.report_unopened("LIBRARY_NOT_FOUND")
    assert line.startswith("FAIL gpus: an NVIDIA GPU is on the PCI bus, but NVIDIA's driver is not")
    line = machine.report_unopened("DRIVER_NOT_LOADED")
    assert line.startswith("FAIL gpus: NVIDIA driver not loaded: load its kernel module")


def test_a_gpu_that_nouveau_drives_fails(machine: Machine) -> None:
    machine.add_gpu("nouveau")
    for error in ("LIBRARY_NOT_FOUND", "DRIVER_NOT_LOADED"):
        assert machine.report_unopened(error).startswith("FAIL gpus: the GPU is driven by nouveau")


def test_a_container_without_the_library_or_the_devices_says_how_to_pass_them(
    machine: Machine,
) -> None:
    machine.add_gpu("nvidia")
    machine.load_module()  # a container sees the host's /proc/driver/nvidia
    assert "NVIDIA_DRIVER_CAPABILITIES=utility" in machine.report_unopened("LIBRARY_NOT_FOUND")
    line = machine.report_unopened("DRIVER_NOT_LOADED")
    assert "nvidiactl is missing" in line and "docker run --gpus all" in line


def test_a_control_group_that_forbids_the_driver_fails(machine: Machine) -> None:
    machine.open_file = refuse
    line = machine.report_unopened("UNKNOWN")
    assert line.startswith("FAIL gpus: this process may not open ")
    assert "its control group forbids it" in line and "DeviceAllow" in line


def test_a_driver_that_does_not_match_its_library_fails_on_every_machine(machine: Machine) -> None:
    line = machine.report_unopened("LIB_RM_VERSION_MISMATCH")
    assert line.startswith("FAIL gpus: the driver was upgraded, and its library does not match")


def test_each_gpu_that_cannot_be_read_fails_with_its_reason(machine: Machine) -> None:
    unopened = Call("nvmlDeviceGetHandleByIndex_v2", error="UNKNOWN", gpu=0)
    unready = Call("nvmlDeviceGetHandleByIndex_v2", error=27, gpu=1)
    found, first, second = machine.report(
        Scenario([Gpu(), Gpu(), Gpu()], calls=[unopened, unready])
    )
    assert found.startswith("ok   gpus: 3 found, driver ")
    assert first.startswith("FAIL gpus: GPU 0: could not be opened (unknown error)")
    assert second.startswith("FAIL gpus: GPU 1: the GPU is not ready")


def test_what_keeps_processes_from_being_listed_is_a_warning(machine: Machine) -> None:
    divided = Scenario([Gpu(migs=[Mig()])], calls=PROCESS_LISTS)
    found, warning = machine.report(divided)
    assert found.startswith("ok   gpus: 1 found")
    assert warning.startswith(
        "warn gpus: GPU 0 (00000000:10:00.0): processes cannot be read: no per"
    )


def test_a_gpu_that_needs_attention_is_a_warning(machine: Machine) -> None:
    found, warning = machine.report(Scenario([Gpu(remapped_pending=1)]))
    assert found.startswith("ok   gpus: 1 found")
    assert warning == (
        "warn gpus: GPU 0 (00000000:10:00.0): a faulty memory row is waiting to be remapped:"
        " reset the GPU"
    )


def test_a_driver_that_starts_its_gpus_slowly_does_not_hang(machine: Machine) -> None:
    slow = Call("nvmlDeviceGetName", delay_ms=1500, gpu=0)
    (found,) = machine.report(Scenario([Gpu(), Gpu()], calls=[slow]))
    assert found.startswith("ok   gpus: 2 found")
