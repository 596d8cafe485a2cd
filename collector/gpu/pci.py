"""GPUs that are on the PCI bus and not in the driver's list."""

import os
import re
from collections.abc import Iterable, Iterator

from gpu_monitor.collector.host.cgroup import container_id, pod_uid, slurm_job_id
from gpu_monitor.collector.host.procfs import read_optional

LOOK_SECONDS = 60.0
_NVIDIA = b"0x10de"
_GPU_CLASSES = (b"0x0300", b"0x0302")
_MINOR = re.compile(rb"^Device Minor:\s*(\d+)", re.MULTILINE)
_EXCLUDED = re.compile(rb"^GPU (?:Excluded|Blacklisted):\s*Yes", re.MULTILINE)
_LOOK = "look for NVRM and Xid in the kernel log"


class Bus:
    """Compares the kernel's devices with NVML's; `problems` is what is wrong, in words.

    Told is a GPU that the driver has taken and that may be used here (the administrator has not
    excluded it, and its device file is there), and one that no driver has taken though there are
    listed ones of the same kind. No fault is one that another driver has, as vfio-pci for a
    virtual machine; a virtual function; an old card for the screen, which this driver does not
    support; one whose device file a container was not given. In a batch job, or a container that
    its control group tells, NVML may be shown fewer: nothing is said.

    `pci_folder` is sysfs's, `gpu_folder` the kernel module's, `own_group` our control group's
    file.
    """

    def __init__(
        self,
        pci_folder: str,
        gpu_folder: str,
        device_folder: str = "/dev",
        own_group: str = "/proc/self/cgroup",
    ) -> None:
        self.problems: tuple[str, ...] = ()
        self._pci_folder = pci_folder
        self._gpu_folder = gpu_folder
        self._device_folder = device_folder
        group = read_optional(own_group).decode("utf-8", "replace")
        self._is_narrowed = any(find(group) for find in (container_id, slurm_job_id, pod_uid))
        self._devices: list[str] = []
        self._kinds: dict[str, bytes] = {}
        self._looked_for: set[str | None] = set()
        self._looked_at: float | None = None

    def look(self, listed: Iterable[str | None], now: float) -> None:
        """Look again if a minute has passed or the list is another one; `now` is monotonic.

        `listed` are NVML's bus ids; with None among them, one that is not known, nothing is said.
        """
        listed = set(listed)
        due = self._looked_at is None or now - self._looked_at >= LOOK_SECONDS
        if self._is_narrowed or not (due or listed != self._looked_for):
            return
        self._looked_for, self._looked_at = listed, now
        self._find()
        known = {_address(bus_id) for bus_id in listed if bus_id is not None}
        self.problems = () if None in listed else tuple(self._missing(known))

    def _find(self) -> None:
        """What a device is does not change: it is read when devices come or go."""
        try:
            devices = sorted(os.listdir(self._pci_folder))
        except OSError:  # no PCI here
            devices = []
        if devices != self._devices:
            self._devices = devices
            gpus = filter(self._is_gpu, devices)
            self._kinds = {each: self._value(each, "device") for each in gpus}

    def _is_gpu(self, device: str) -> bool:
        if self._value(device, "vendor") != _NVIDIA:
            return False
        is_virtual = os.path.lexists(f"{self._pci_folder}/{device}/physfn")
        return self._value(device, "class").startswith(_GPU_CLASSES) and not is_virtual

    def _value(self, device: str, name: str) -> bytes:
        return read_optional(f"{self._pci_folder}/{device}/{name}").strip()

    def _missing(self, listed: set[str]) -> Iterator[str]:
        supported = {kind for device, kind in self._kinds.items() if device in listed}
        for device, kind in self._kinds.items():
            if device in listed:
                continue
            driver = self._driver(device)
            if driver == "nvidia" and self._is_for_us(device):
                yield f"GPU {device.upper()} is on the bus, the driver does not list it: {_LOOK}"
            elif driver is None and kind in supported:
                yield f"GPU {device.upper()} is on the bus, no driver has taken it: {_LOOK}"

    def _driver(self, device: str) -> str | None:
        try:
            return os.path.basename(os.readlink(f"{self._pci_folder}/{device}/driver"))
        except FileNotFoundError:
            return None
        except OSError:
            return ""

    def _is_for_us(self, device: str) -> bool:
        told = read_optional(f"{self._gpu_folder}/{device}/information")
        minor = _MINOR.search(told)
        if minor is None or _EXCLUDED.search(told):
            return False
        return os.path.exists(f"{self._device_folder}/nvidia{int(minor[1])}")


def _address(bus_id: str) -> str:
    """NVML's bus id as sysfs writes it: in small letters, with four digits of domain or more."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain.lstrip('0').rjust(4, '0')}:{rest}"
