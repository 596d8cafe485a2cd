"""Why NVML cannot be opened, by the driver's files rather than by the library's error alone."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_monitor.collector.gpu.installation import DriverInstallation
from gpu_monitor.collector.gpu.nvml_errors import (
    DRIVER_NOT_LOADED,
    LIB_RM_VERSION_MISMATCH,
    LIBRARY_NOT_FOUND,
    NO_PERMISSION,
    UNKNOWN,
    InternalError,
    NvmlError,
    words,
)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host without a driver and without a GPU."""
    for folder in ("pci", "dev", "module"):
        (tmp_path / folder).mkdir()
    return tmp_path


def describe(host: Path, code: int, open_file: Callable[[str, int], int] = os.open) -> str:
    pci, module, dev = (str(host / folder) for folder in ("pci", "module", "dev"))
    error = NvmlError(code, "nvmlInit")
    return DriverInstallation(pci, module, dev, open_file).describe(error).line


def refusing(number: int) -> Callable[[str, int], int]:
    """A kernel that refuses every file for this reason."""

    def open_file(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    return open_file


def add_device(host: Path, vendor: str, kind: str) -> None:
    folder = host / "pci" / "0000:17:00.0"
    folder.mkdir(exist_ok=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")


def bind(host: Path, driver: str) -> None:
    """Bind the device to this kernel driver, as sysfs shows it."""
    link = host / "pci" / "0000:17:00.0" / "driver"
    link.unlink(missing_ok=True)
    link.symlink_to(f"../../../bus/pci/drivers/{driver}")


def load_module(host: Path) -> None:
    (host / "module" / "version").write_text("NVRM version\n")


@pytest.mark.parametrize("code", [UNKNOWN, NO_PERMISSION])
def test_a_control_group_that_forbids_the_driver_is_named(host: Path, code: int) -> None:
    found = describe(host, code, refusing(errno.EPERM))
    assert found.startswith(f"this process may not open {host}/dev/nvidiactl, because its control")


@pytest.mark.parametrize("code", [UNKNOWN, NO_PERMISSION])
def test_permissions_that_forbid_the_driver_are_named(host: Path, code: int) -> None:
    found = describe(host, code, refusing(errno.EACCES))
    assert found.endswith(f"check the permissions of {host}/dev/nvidiactl")


def test_a_driver_that_failed_to_initialize_refers_to_the_kernel_log(host: Path) -> None:
    assert describe(host, UNKNOWN, refusing(errno.EIO)) == words(17)


@pytest.mark.parametrize("code", [UNKNOWN, NO_PERMISSION, LIB_RM_VERSION_MISMATCH])
def test_an_error_with_another_cause_keeps_its_description(host: Path, code: int) -> None:
    assert describe(host, code) == words(code)
    (host / "dev" / "nvidiactl").touch()
    assert describe(host, code) == words(code)


def test_a_loaded_driver_without_its_device_file_needs_the_file_and_no_reload(host: Path) -> None:
    assert describe(host, DRIVER_NOT_LOADED) == words(DRIVER_NOT_LOADED)
    load_module(host)
    found = describe(host, DRIVER_NOT_LOADED)
    assert "nvidiactl is missing: run nvidia-modprobe" in found and "modprobe nvidia)" not in found
    (host / "dev" / "nvidiactl").touch()
    assert describe(host, DRIVER_NOT_LOADED) == words(DRIVER_NOT_LOADED)


def test_a_missing_library_is_expected_only_without_a_gpu_and_a_module(host: Path) -> None:
    assert describe(host, LIBRARY_NOT_FOUND) == words(LIBRARY_NOT_FOUND)
    add_device(host, "0x10de", "0x030200")
    assert describe(host, LIBRARY_NOT_FOUND).startswith("an NVIDIA GPU is on the PCI bus, but NVI")
    load_module(host)
    assert describe(host, LIBRARY_NOT_FOUND).startswith("NVIDIA driver loaded, but its library")


def severity(host: Path, error: NvmlError) -> str:
    pci, module, dev = (str(host / folder) for folder in ("pci", "module", "dev"))
    return DriverInstallation(pci, module, dev).describe(error).severity


@pytest.mark.parametrize("code", [LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED])
def test_no_driver_needs_attention_only_where_there_is_a_gpu(host: Path, code: int) -> None:
    assert severity(host, NvmlError(code, "nvmlInit")) == "info"
    add_device(host, "0x10de", "0x030200")
    assert severity(host, NvmlError(code, "nvmlInit")) == "critical"


def test_any_other_error_needs_attention(host: Path) -> None:
    assert severity(host, NvmlError(UNKNOWN, "nvmlInit")) == "critical"
    broken = InternalError("nvmlInit", AttributeError("gone"))
    assert severity(host, broken) == "critical"
    pci, module, dev = (str(host / folder) for folder in ("pci", "module", "dev"))
    found = DriverInstallation(pci, module, dev).describe(broken)
    assert (found.words, found.advice) == ("internal error: AttributeError: gone", None)


@pytest.mark.parametrize(
    ("vendor", "kind", "is_gpu"),
    [
        ("0x10de", "0x030200", True),
        ("0x10de", "0x030000", True),
        ("0x10de", "0x040300", False),
        ("0x8086", "0x030000", False),
    ],
)
def test_a_gpu_is_recognised_by_vendor_and_class(
    host: Path, vendor: str, kind: str, is_gpu: bool
) -> None:
    add_device(host, vendor, kind)
    assert DriverInstallation(str(host / "pci")).has_gpu() is is_gpu
    assert not DriverInstallation(str(host / "none")).has_gpu()


@pytest.mark.parametrize("code", [LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED])
def test_a_gpu_that_nouveau_drives_needs_nvidias_driver(host: Path, code: int) -> None:
    add_device(host, "0x10de", "0x030000")
    bind(host, "nouveau")
    assert describe(host, code).startswith("the GPU is driven by nouveau")
    load_module(host)
    assert "driven by nouveau" not in describe(host, code)


@pytest.mark.parametrize("driver", ["vfio-pci", "pci-stub"])
def test_a_gpu_that_waits_for_a_virtual_machine_is_not_this_hosts(host: Path, driver: str) -> None:
    add_device(host, "0x10de", "0x030200")
    bind(host, driver)
    assert not DriverInstallation(str(host / "pci")).has_gpu()
    assert describe(host, LIBRARY_NOT_FOUND) == words(LIBRARY_NOT_FOUND)
    bind(host, "nvidia")
    assert DriverInstallation(str(host / "pci")).has_gpu()
