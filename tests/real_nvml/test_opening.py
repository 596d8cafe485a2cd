"""NVIDIA's own library without a card: what it says, and what the collector makes of that.

The kernel module's part, opening /dev/nvidiactl and checking versions, is played by device_nodes.c.
"""

import errno
import os
import shutil
from pathlib import Path

import pynvml
import pytest

from first_contact.collector import running_collector
from first_contact.record import Recorder

from .cache import DRIVERS, LIBRARY
from .children import growth, refusals, run_child, upgrade
from .driver_files import DriverFiles

NOT_LOADED = "NVIDIA driver not loaded: load its kernel module (modprobe nvidia)"
GIVE_IT = "a container has to be given the GPU (docker run --gpus all)"
NO_NODE = (
    "NVIDIA driver loaded, but /dev/nvidiactl is missing: run nvidia-modprobe or enable"
    f" nvidia-persistenced; {GIVE_IT}"
)
FORBIDDEN = (
    "this process may not open /dev/nvidiactl, because its control group forbids it:"
    f" a service needs DeviceAllow, {GIVE_IT}"
)
NO_PERMISSION = "no permission to access the NVIDIA driver: check the permissions of /dev/nvidiactl"
FAILED = "the GPU or the driver failed to initialize: search the kernel log for NVRM and Xid"
UNKNOWN = "the driver reports an unknown error: search the kernel log for NVRM and Xid"
MISMATCH = (
    "the driver was upgraded, and its library does not match the loaded kernel module:"
    " reboot the host"
)
NEWER_MODULE = "999.11.22"
NEWEST = pytest.mark.parametrize("driver", DRIVERS[-1:], indirect=True)


@pytest.fixture
def module_folder(tmp_path: Path) -> Path:
    """/proc/driver/nvidia of a loaded kernel module."""
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module\n")
    return tmp_path


def test_why_the_device_file_cannot_be_opened_is_told(
    driver: DriverFiles, module_folder: Path
) -> None:
    expected = {
        errno.ENOENT: [pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "critical", NO_NODE],
        errno.EPERM: [pynvml.NVML_ERROR_UNKNOWN, "critical", FORBIDDEN],
        errno.EACCES: [pynvml.NVML_ERROR_NO_PERMISSION, "critical", NO_PERMISSION],
        errno.EIO: [pynvml.NVML_ERROR_OPERATING_SYSTEM, "critical", FAILED],
        errno.ENOMEM: [pynvml.NVML_ERROR_UNKNOWN, "critical", UNKNOWN],
    }
    environment = driver.environment()
    found = run_child(refusals, environment, str(module_folder), *map(str, expected))
    assert found == list(expected.values())


def test_without_the_kernel_module_the_driver_is_not_loaded(
    driver: DriverFiles, tmp_path: Path
) -> None:
    found = run_child(refusals, driver.environment(), str(tmp_path), str(errno.ENOENT))
    assert found == [[pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "info", NOT_LOADED]]


def test_a_module_of_another_version_is_told_as_an_upgrade(
    driver: DriverFiles, module_folder: Path
) -> None:
    environment = driver.environment(module=NEWER_MODULE)
    found = run_child(refusals, environment, str(module_folder), "0")
    assert found == [[pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "critical", MISMATCH]]


def test_after_an_upgrade_the_library_that_fits_the_module_is_loaded(
    shim: Path, module_folder: Path, tmp_path: Path, two_drivers: tuple[DriverFiles, DriverFiles]
) -> None:
    """Until then the old file stays loaded, whatever lies at its path."""
    old, new = two_drivers
    folder = tmp_path / "libraries"
    folder.mkdir()
    shutil.copy(old.folder / LIBRARY, folder / LIBRARY)
    shutil.copy(new.folder / LIBRARY, (folder / LIBRARY).with_suffix(".2"))
    environment = DriverFiles(folder, shim).environment(module=new.version)
    before, after = run_child(upgrade, environment, str(module_folder), str(folder))
    assert before == [pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "critical", MISMATCH]
    # the versions agree, but behind the module there is nothing
    assert after == [pynvml.NVML_ERROR_OPERATING_SYSTEM, "critical", FAILED]


@NEWEST
@pytest.mark.parametrize("refusal", [errno.ENOENT, 0], ids=["no module", "another module"])
def test_a_driver_that_never_opens_takes_no_more_and_more(
    driver: DriverFiles, tmp_path: Path, refusal: int
) -> None:
    """The collector tries every 8 s for as long as it runs."""
    environment = driver.environment(refusal, NEWER_MODULE)
    grown = run_child(growth, environment, str(tmp_path), "400")
    assert grown["files"] == 0
    assert grown["memory_kib"] < 400  # 2 KiB each time


@NEWEST
def test_the_whole_collector_tells_why_there_is_no_driver(
    driver: DriverFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in driver.variables(errno.EPERM).items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "log").open("w") as log, running_collector(Recorder(log)) as collector:
        snapshot = collector.next_snapshot()
    words, advice = (snapshot["findings"][name] for name in ("words", "advice"))
    assert FORBIDDEN in map(": ".join, zip(words, advice, strict=True))
    assert snapshot["gpus"]["index"] == []


def test_the_library_leaves_no_device_files_behind(
    driver: DriverFiles, module_folder: Path
) -> None:
    """As root it would make them."""
    before = device_files()
    run_child(refusals, driver.environment(), str(module_folder), str(errno.ENOENT))
    assert device_files() == before


def device_files() -> list[str]:
    return sorted(name for name in os.listdir("/dev") if name.startswith("nvidia"))
