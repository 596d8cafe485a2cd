"""The GPUs that the kernel module has, by its folder in /proc: which came back, which are gone."""

import contextlib
import os
from typing import NamedTuple

from gpu_monitor.collector.gpu.pci import nvml_bus_id, sysfs_address


class _Entry(NamedTuple):
    """Inodes of a GPU's folders in /proc and sysfs; 0 where there is none.

    A device that is removed and found again at the same place has others.
    """

    module_inode: int
    pci_inode: int


class KernelGpus:
    """Lists the GPUs in `gpu_folder` (the kernel module's) and `pci_folder` (sysfs's).

    `addresses` are their names there, like `0000:3b:00.0`, as of the last `scan`; none where the
    folder cannot be read. NVML counts GPUs only when it is opened, so it shows none of this.
    """

    def __init__(self, gpu_folder: str, pci_folder: str) -> None:
        self.addresses: list[str] = []
        self._gpu_folder = gpu_folder
        self._pci_folder = pci_folder
        self._entries: dict[str, _Entry] = {}

    @property
    def bus_ids(self) -> list[str]:
        """Their places as NVML writes them, in the order of the bus."""
        return [nvml_bus_id(address) for address in self.addresses]

    def scan(self) -> bool:
        """List them anew; whether one is there that was not, or was removed and is back."""
        before = self._entries
        try:
            self.addresses = sorted(os.listdir(self._gpu_folder))
        except OSError:
            self.addresses = []
        self._entries = {address: self._entry(address) for address in self.addresses}
        return any(before.get(address) != entry for address, entry in self._entries.items())

    def is_removed(self, bus_id: str) -> bool:
        """Whether the kernel has no such GPU any more, though it has others."""
        places = self.bus_ids
        return bool(places) and bus_id not in places and not self._is_on_the_bus(bus_id)

    def _is_on_the_bus(self, bus_id: str) -> bool:
        return os.path.lexists(f"{self._pci_folder}/{sysfs_address(bus_id)}")

    def _entry(self, address: str) -> _Entry:
        return _Entry(
            _inode(f"{self._gpu_folder}/{address}"), _inode(f"{self._pci_folder}/{address}")
        )


def _inode(path: str) -> int:
    with contextlib.suppress(OSError):
        return os.stat(path).st_ino
    return 0
