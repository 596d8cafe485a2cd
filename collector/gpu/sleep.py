"""Whether the kernel has put a GPU to sleep, found out without waking it.

By nvml.h, nvmlInit initializes no GPU, and a handle its own one (with SLI its partners too), which
wakes it. Some have seen nvmlInit wake one all the same (OpenGamingCollective/asusctl#293). Awake,
it may be kept so by an open handle (D-Brox/cosmic-ext-applet-system-monitor#38) and by being asked
again and again (PolpOnline/gpu-usage-waybar#111); NVML closes all handles at once or none.
"""

from gpu_monitor.collector.gpu.readings import GpuReading, Identity
from gpu_monitor.collector.host.procfs import read_file

PCI_FOLDER = "/sys/bus/pci/devices"
LOOK_SECONDS = 5.0
_ASLEEP = (b"suspended", b"suspending")


def bus_id(address: str) -> str:
    """NVML's name for a place on the bus by the kernel's, which is like `0000:3b:00.0`."""
    return address.upper().zfill(16)


def asleep(gpu: Identity, known: GpuReading) -> GpuReading:
    """The row of a GPU that sleeps: of what was `known` it has what sleep cannot change."""
    return GpuReading(
        gpu,
        "asleep",
        "asleep to save power",
        memory_kind=known.memory_kind,
        memory_total_bytes=known.memory_total_bytes,
    )


class Sleep:
    """Follows one PCI device; any question to NVML about it would wake it up.

    `pci_bus_id` is NVML's, with eight digits of domain where sysfs has four, or more if it must.
    """

    def __init__(self, pci_bus_id: str | None, folder: str = PCI_FOLDER) -> None:
        self.pci_bus_id = pci_bus_id
        self.folder = folder
        domain, _, rest = (pci_bus_id or "").lower().partition(":")
        self._power = f"{folder}/{domain.lstrip('0'):0>4}:{rest}/power"
        self._may_sleep = False
        self._looked_at: float | None = None

    def now(self, now: float) -> bool:
        """Whether it sleeps; `now` in monotonic seconds.

        Only a device whose `power/control` is `auto` ever does (sysfs-devices-power); that is
        looked at every 5 s, so that the others cost nothing.
        """
        if self._looked_at is None or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._may_sleep = self._word("control") == b"auto"
        return self._may_sleep and self._word("runtime_status") in _ASLEEP

    def _word(self, name: str) -> bytes | None:
        try:
            return read_file(f"{self._power}/{name}", 32).strip()
        except OSError:
            return None
