"""The driver's files on this host: why NVML cannot be opened, where its error alone is not clear.

The library hides the reason: it returns "unknown error" (999) where the kernel forbids opening
/dev/nvidiactl, and "driver not loaded" where the driver is loaded but that file is missing.
"""

import errno
import os
from collections.abc import Callable

from gpu_monitor.collector.findings import Finding, Severity
from gpu_monitor.collector.gpu.nvml_errors import (
    DRIVER_NOT_LOADED,
    LIBRARY_NOT_FOUND,
    NO_PERMISSION,
    UNKNOWN,
    InternalError,
    NvmlError,
)
from gpu_monitor.collector.host.procfs import read_optional

_REFUSALS = {
    errno.EPERM: "this process may not open {path}, because its control group forbids it: a service"
    " needs DeviceAllow, a container has to be given the GPU (docker run --gpus all)",
    errno.EACCES: "no permission to access the NVIDIA driver: check the permissions of {path}",
    errno.EIO: "the GPU or the driver failed to initialize: search the kernel log for NVRM and Xid",
}
_FOR_GUESTS = frozenset({"vfio-pci", "pci-stub"})
"""Kernel drivers that hold a GPU for virtual machines."""
_NOUVEAU = "nouveau"


class DriverInstallation:
    """The folders of the kernel module, of its device files and of the devices on the PCI bus.

    `open_file` opens a file as os.open does.
    """

    def __init__(
        self,
        pci_folder: str,
        module_folder: str = "/proc/driver/nvidia",
        device_folder: str = "/dev",
        open_file: Callable[[str, int], int] = os.open,
    ) -> None:
        self._pci_folder = pci_folder
        self._module_folder = module_folder
        self._control = f"{device_folder}/nvidiactl"
        self._open_file = open_file

    def is_module_loaded(self) -> bool:
        """Whether the kernel module is loaded."""
        return os.path.exists(f"{self._module_folder}/version")

    def has_gpu(self) -> bool:
        """Whether an NVIDIA display controller is on the PCI bus for this host to use: one that
        waits for a virtual machine is not."""
        return not self._kernel_drivers() <= _FOR_GUESTS

    def _kernel_drivers(self) -> frozenset[str]:
        """The kernel drivers of the NVIDIA display controllers; "" for one without."""
        try:
            devices = os.listdir(self._pci_folder)
        except OSError:  # no PCI here
            return frozenset()
        return frozenset(map(self._kernel_driver, filter(self._is_gpu, devices)))

    def describe(self, error: NvmlError) -> Finding:
        """Why NVML could not be opened, and what to do about it.

        On a host without a GPU of NVIDIA's that needs no attention.
        """
        expected = self.is_module_loaded() or self.has_gpu()
        is_absent = error.code in (LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED) and not expected
        severity: Severity = "info" if is_absent else "critical"
        if isinstance(error, InternalError):
            return Finding("driver", severity, str(error))
        return Finding.of_text("driver", severity, self._text(error))

    def _text(self, error: NvmlError) -> str:
        if error.code == LIBRARY_NOT_FOUND:
            return self._why_no_library() or str(error)
        if error.code == DRIVER_NOT_LOADED:
            return self._why_not_loaded() or str(error)
        if error.code in (UNKNOWN, NO_PERMISSION):
            return self._refusal() or str(error)
        return str(error)

    def _why_no_library(self) -> str | None:
        if self.is_module_loaded():
            return (
                "NVIDIA driver loaded, but its library libnvidia-ml.so.1 was not found: install it"
                " with the driver's utilities, or pass it to this container"
                " (NVIDIA_DRIVER_CAPABILITIES=utility)"
            )
        if self.has_gpu():
            return self._why_nouveau() or (
                "an NVIDIA GPU is on the PCI bus, but NVIDIA's driver is not installed"
                " (libnvidia-ml.so.1 not found): install it"
            )
        return None

    def _why_not_loaded(self) -> str | None:
        if not self.is_module_loaded():
            return self._why_nouveau()
        if os.path.exists(self._control):
            return self._refusal()
        return (
            f"NVIDIA driver loaded, but {self._control} is missing: run nvidia-modprobe or enable"
            " nvidia-persistenced; a container has to be given the GPU (docker run --gpus all)"
        )

    def _why_nouveau(self) -> str | None:
        if _NOUVEAU not in self._kernel_drivers():
            return None
        return (
            "the GPU is driven by nouveau, which reports nothing to monitors: install NVIDIA's"
            " driver and reboot"
        )

    def _refusal(self) -> str | None:
        """Why the kernel does not let this process open the driver; None if it does, or if it gives
        another reason."""
        try:
            os.close(self._open_file(self._control, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            words = _REFUSALS.get(error.errno or 0)
            return words and words.format(path=self._control)
        return None

    def _is_gpu(self, device: str) -> bool:
        folder = f"{self._pci_folder}/{device}"
        is_display = read_optional(f"{folder}/class").startswith(b"0x03")
        return is_display and read_optional(f"{folder}/vendor").strip() == b"0x10de"

    def _kernel_driver(self, device: str) -> str:
        try:
            return os.path.basename(os.readlink(f"{self._pci_folder}/{device}/driver"))
        except OSError:
            return ""
