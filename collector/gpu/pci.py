"""GPUs on the PCI bus, by sysfs: those that the driver does not list, and those that are asleep.

Any query to NVML about a GPU wakes it. By nvml.h, nvmlInit initializes no GPU, and a handle only
its own one (with SLI its partners too). Some have seen nvmlInit wake one all the same
(OpenGamingCollective/asusctl#293). Once awake, a GPU may be kept so by an open handle
(D-Brox/cosmic-ext-applet-system-monitor#38) and by repeated queries
(PolpOnline/gpu-usage-waybar#111); NVML closes all handles at once or none. So idle GPUs that may
sleep are left alone (rest.py).
"""

import os
import re
from collections.abc import Iterable, Iterator

from gpu_monitor.collector.findings import Finding, Severity
from gpu_monitor.collector.gpu.readings import GpuReading, Identity
from gpu_monitor.collector.host.cgroup import container_id, pod_uid, slurm_job_id
from gpu_monitor.collector.host.procfs import read_file, read_optional

PCI_FOLDER = "/sys/bus/pci/devices"
PCI_SCAN_SECONDS = 60.0
POWER_CONTROL_SECONDS = 5.0
_NVIDIA = b"0x10de"
_GPU_CLASSES = (b"0x0300", b"0x0302")
_MINOR = re.compile(rb"^Device Minor:\s*(\d+)", re.MULTILINE)
_EXCLUDED = re.compile(rb"^GPU (?:Excluded|Blacklisted):\s*Yes", re.MULTILINE)
_ADVICE = "search the kernel log for NVRM and Xid"
_ASLEEP = (b"suspended", b"suspending")


def nvml_bus_id(address: str) -> str:
    """NVML's name for a place on the bus by sysfs's, which is like `0000:3b:00.0`."""
    return address.upper().zfill(16)


def sysfs_address(bus_id: str) -> str:
    """sysfs's name for a place by NVML's: lower case, with four digits of domain or more."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain.lstrip('0').rjust(4, '0')}:{rest}"


class PciBus:
    """Compares the GPUs on the bus with those that NVML lists: `findings` are those missing.

    A GPU is missing when the NVIDIA driver is bound to it and it may be used here (it is not
    excluded by the administrator, and its device file is there); or when no driver is bound to it
    though NVML lists others of the same model. These are not missing: a GPU bound to another
    driver, such as vfio-pci for a virtual machine; a virtual function; an old display card, which
    this driver does not support; one whose device file was not given to this container. In a
    batch job, or a container that the control group shows, NVML may see fewer GPUs on purpose:
    nothing is reported there.

    `pci_folder` is sysfs's, `gpu_folder` the kernel module's, `own_group` the file of our control
    group.
    """

    def __init__(
        self,
        pci_folder: str,
        gpu_folder: str,
        device_folder: str = "/dev",
        own_group: str = "/proc/self/cgroup",
    ) -> None:
        self.findings: tuple[Finding, ...] = ()
        self._pci_folder = pci_folder
        self._gpu_folder = gpu_folder
        self._device_folder = device_folder
        group = read_optional(own_group).decode("utf-8", "replace")
        self._is_narrowed = any(find(group) for find in (container_id, slurm_job_id, pod_uid))
        self._devices: list[str] = []
        self._models: dict[str, bytes] = {}
        self._scanned_for: set[str | None] = set()
        self._scanned_at: float | None = None

    def scan(self, listed: Iterable[str | None], now: float) -> None:
        """Update `findings` if a minute has passed or NVML's list has changed; `now` is monotonic.

        `listed` are NVML's bus ids. With None among them, a GPU whose place is not known, nothing
        is reported.
        """
        listed = set(listed)
        due = self._scanned_at is None or now - self._scanned_at >= PCI_SCAN_SECONDS
        if self._is_narrowed or not (due or listed != self._scanned_for):
            return
        self._scanned_for, self._scanned_at = listed, now
        self._find_gpus()
        known = {sysfs_address(bus_id) for bus_id in listed if bus_id is not None}
        self.findings = () if None in listed else tuple(self._missing(known))

    def _find_gpus(self) -> None:
        """A device's model does not change: it is read when devices come or go."""
        try:
            devices = sorted(os.listdir(self._pci_folder))
        except OSError:  # no PCI here
            devices = []
        if devices != self._devices:
            self._devices = devices
            gpus = filter(self._is_gpu, devices)
            self._models = {each: self._value(each, "device") for each in gpus}

    def _is_gpu(self, device: str) -> bool:
        if self._value(device, "vendor") != _NVIDIA:
            return False
        is_virtual = os.path.lexists(f"{self._pci_folder}/{device}/physfn")
        return self._value(device, "class").startswith(_GPU_CLASSES) and not is_virtual

    def _value(self, device: str, name: str) -> bytes:
        return read_optional(f"{self._pci_folder}/{device}/{name}").strip()

    def _missing(self, listed: set[str]) -> Iterator[Finding]:
        supported = {model for device, model in self._models.items() if device in listed}
        for device, model in self._models.items():
            if device in listed:
                continue
            driver = self._driver(device)
            if driver == "nvidia" and self._is_for_us(device):
                yield _missing_gpu(device, "critical", "the driver does not list it")
            elif driver is None and model in supported:
                yield _missing_gpu(device, "warning", "no driver is bound to it")

    def _driver(self, device: str) -> str | None:
        """The name of the driver bound to a device; None for none, empty where it is unreadable."""
        try:
            return os.path.basename(os.readlink(f"{self._pci_folder}/{device}/driver"))
        except FileNotFoundError:
            return None
        except OSError:
            return ""

    def _is_for_us(self, device: str) -> bool:
        information = read_optional(f"{self._gpu_folder}/{device}/information")
        minor = _MINOR.search(information)
        if minor is None or _EXCLUDED.search(information):
            return False
        return os.path.exists(f"{self._device_folder}/nvidia{int(minor[1])}")


def _missing_gpu(device: str, severity: Severity, why: str) -> Finding:
    words = f"GPU {device.upper()} is on the PCI bus, but {why}"
    return Finding("gpu_missing", severity, words, _ADVICE, key=device)


class PciPower:
    """Whether the kernel has suspended one PCI device, found out without waking it.

    `pci_bus_id` is NVML's; None where it is not known, and the device counts as awake.
    """

    def __init__(self, pci_bus_id: str | None, folder: str = PCI_FOLDER) -> None:
        self.pci_bus_id = pci_bus_id
        self.folder = folder
        self._power = f"{folder}/{sysfs_address(pci_bus_id or '')}/power"
        self._may_sleep = False
        self._checked_at: float | None = None

    def is_asleep(self, now: float) -> bool:
        """Whether it is asleep; `now` in monotonic seconds."""
        return self.may_sleep(now) and self._word("runtime_status") in _ASLEEP

    def may_sleep(self, now: float) -> bool:
        """Whether the kernel may suspend it.

        Only a device whose `power/control` is `auto` is ever suspended (sysfs-devices-power). That
        is checked every 5 s, so that the others cost next to nothing.
        """
        if self._checked_at is None or now - self._checked_at >= POWER_CONTROL_SECONDS:
            self._checked_at = now
            self._may_sleep = self._word("control") == b"auto"
        return self._may_sleep

    def _word(self, name: str) -> bytes | None:
        try:
            return read_file(f"{self._power}/{name}", 32).strip()
        except OSError:
            return None


def asleep_reading(gpu: Identity, known: GpuReading) -> GpuReading:
    """The row of a GPU that is asleep: only what sleep cannot change is taken from `known`."""
    return GpuReading(
        gpu,
        "asleep",
        "asleep to save power",
        memory_kind=known.memory_kind,
        memory_total_bytes=known.memory_total_bytes,
    )
