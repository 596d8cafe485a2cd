"""Whether the kernel has put a GPU to sleep, found out without waking it."""

from collector.files import read_file

PCI_FOLDER = "/sys/bus/pci/devices"
LOOK_SECONDS = 5.0


class Sleep:
    """Follows one PCI device; any question to NVML about it would wake it up.

    `pci_bus_id` is NVML's, with eight digits of domain where sysfs has four.
    """

    def __init__(self, pci_bus_id: str | None, folder: str = PCI_FOLDER) -> None:
        domain, _, rest = (pci_bus_id or "").lower().partition(":")
        self._power = f"{folder}/{domain[-4:]}:{rest}/power"
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
        return self._may_sleep and self._word("runtime_status") == b"suspended"

    def _word(self, name: str) -> bytes | None:
        try:
            return read_file(f"{self._power}/{name}", 32).strip()
        except OSError:
            return None
