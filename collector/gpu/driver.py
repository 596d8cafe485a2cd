"""The driver and its GPUs over the collector's life: opened, lost, opened again."""

import os
from functools import partial

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.gpu_probe import GpuProbe
from gpu_monitor.collector.gpu.installation import DriverInstallation
from gpu_monitor.collector.gpu.kernel_gpus import KernelGpus
from gpu_monitor.collector.gpu.lost_gpus import LostGpus
from gpu_monitor.collector.gpu.nvml_errors import (
    CLOSED,
    GPU_NOT_FOUND,
    LIB_RM_VERSION_MISMATCH,
    NvmlError,
    words,
)
from gpu_monitor.collector.gpu.openings import Opening, Openings
from gpu_monitor.collector.gpu.pci import PCI_FOLDER, PciBus, PciPower
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.rest import RESTING, Rest
from gpu_monitor.collector.gpu.silence import Silence
from gpu_monitor.collector.gpu.slot_order import Found, arrange
from gpu_monitor.collector.gpu.slots import Slot

FIRST_REOPEN_SECONDS = 1.0
LAST_REOPEN_SECONDS = 8.0
"""So that a driver that is back is found within ten seconds."""
CALM_SECONDS = 30.0
"""After this long without a reopening the next one waits for as little as the first."""
CHANGE_CHECK_SECONDS = 5.0
GPU_FOLDER = "/proc/driver/nvidia/gpus"


class Driver:
    """NVML, opened, closed and opened again; each method but `is_due` may block as the driver does.

    NVML closes all GPUs at once: while one of them answers, it is opened again only where another
    one is known to be back, by the kernel module's folder or by a probe.

    `slots` are the GPUs in the order of the bus. `finding` says why there is no driver, None while
    there is one. `bus` has the GPUs that the driver does not list. `trace` names the NVML call that
    is running.
    """

    def __init__(
        self,
        pci_folder: str = PCI_FOLDER,
        gpu_folder: str = GPU_FOLDER,
        device_folder: str = "/dev",
        probe: GpuProbe | None = None,
    ) -> None:
        self.trace = Trace()
        self.slots: tuple[Slot, ...] = ()
        self.finding: Finding | None = None
        self.driver_version: str | None = None
        self.cuda_version: str | None = None
        self.bus = PciBus(pci_folder, gpu_folder, device_folder)
        self.openings = Openings()
        self.silence = Silence()
        self.probe = probe or GpuProbe()
        self._pci_folder = pci_folder
        self._gpu_folder = gpu_folder
        self._rest = Rest(pci_folder, gpu_folder)
        self._installation = DriverInstallation(
            pci_folder, os.path.dirname(gpu_folder), device_folder
        )
        self._kernel = KernelGpus(gpu_folder, pci_folder)
        self._lost = LostGpus(self.probe)
        self._is_open = False
        self._mismatch = False
        self._changed = False
        self._count = 0
        self._check_at = 0.0
        self._settled: tuple[int, bool] | None = None
        self._reopen_at = 0.0
        self._reopen_seconds = FIRST_REOPEN_SECONDS
        self._opened_at: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether it is time to `open`; `now` in monotonic seconds."""
        if self._opened_at is None:
            return True
        self.silence.observe(self.slots if self._is_open else (), now)
        if now < self._reopen_at or self.openings.is_busy(now):
            return False
        return (
            self._is_to_rest(now)
            or not self._is_open
            or self._changed
            or self._lost.has_returned
            or self.silence.has_lasted(now)
            or self._has_closed()
        )

    def close(self) -> None:
        """Close NVML; only while no thread is in a call."""
        if self._is_open:
            self._is_open = False
            for slot in self.slots:
                slot.close()
            nvml.close_library(self.trace)

    def check_for_changes(self, now: float) -> None:
        """Each round: which GPUs have been opened since; every 5 s: have GPUs come or gone, which
        are not listed, is a lost one back."""
        if not self._is_open:
            return
        self._settle(now)
        if now >= self._check_at and not self.openings.is_busy(now):
            self._check_at = now + CHANGE_CHECK_SECONDS
            self._changed = self._has_more_gpus()
            if not self._changed:
                self.trace.function = self._gpu_folder
                self._mark_removed()
                self.bus.scan([slot.identity.pci_bus_id for slot in self.slots], now)
                self._lost.probe_due(self.slots, self._lost_slots(), now)

    def open(self, now: float, is_calm: bool) -> None:
        """Open NVML, closing it first if it was open, and find its GPUs.

        No other thread may begin a call meanwhile. `is_calm` means that none is in one either:
        only then is NVML closed, because a call that returns into a closed library may crash the
        process. A GPU that is asleep is not opened, and NVML is not while all of them are asleep
        or left alone so that they can fall asleep. Returns before GPUs that are slow to open; the
        rows of those that were open until now show their last readings.
        """
        self._plan_reopening(now)
        is_calm = is_calm and self.openings.is_idle()
        if self._rest.is_ready:
            if not is_calm:
                return
            self._rest.begin(now)
        for slot in self.slots:
            slot.carry()
        if self._is_open and is_calm:
            nvml.close_library(self.trace)
        if self._mismatch and is_calm:
            nvml.unload_library()
        self._changed = True  # until everything below has succeeded
        self._kernel.scan()
        self._check_at = now + CHANGE_CHECK_SECONDS
        asleep = self._asleep(now)
        if asleep and len(asleep) == len(self._kernel.bus_ids):
            self._mark_all_asleep(asleep)
        elif self._open_library():
            self.trace.function = ""
            self.openings.open_all(self._wanted(asleep), now)
            self._settled = None
            self._settle(now)
        self._changed = False
        self._lost.forget_return()
        self.silence.lengthen(now)

    def _open_library(self) -> bool:
        """Whether NVML is open; else every GPU shows why it is not."""
        try:
            nvml.open_library(self.trace)
            self.driver_version, self.cuda_version = nvml.versions(self.trace)
            self._count = nvml.device_count(self.trace)
        except NvmlError as error:
            self._is_open = False
            self._mismatch = error.code == LIB_RM_VERSION_MISMATCH
            self.finding = self._installation.describe(error)
            for slot in self.slots:
                slot.mark_absent("error", self.finding.line)
            return False
        self._is_open, self._mismatch, self.finding = True, False, None
        return True

    def _has_closed(self) -> bool:
        """Whether the library has no driver any more: no GPU is read, and one says so."""
        if any(slot.state in ("ok", None) and not slot.is_being_read for slot in self.slots):
            return False
        return any(slot.failure is not None and slot.failure.code in CLOSED for slot in self.slots)

    def _has_more_gpus(self) -> bool:
        """NVML counts GPUs only when it is opened: the kernel module's folder shows more."""
        before = self._count
        try:
            self._count = nvml.device_count(self.trace)
        except NvmlError:
            return False
        return self._kernel.scan() or self._count > before

    def _mark_removed(self) -> None:
        """A GPU that the kernel no longer has is not asked any more."""
        for slot in self.slots:
            place = slot.identity.pci_bus_id
            if slot.answers is False and place is not None and self._kernel.is_removed(place):
                slot.mark_absent("lost", words(GPU_NOT_FOUND))

    def _lost_slots(self) -> list[Slot]:
        """The GPUs that a probe may find to be back; none where NVML may as well be opened again,
        because no GPU answers."""
        if self.silence.since is not None:
            return []
        places = [slot.identity.pci_bus_id for slot in self.slots]
        return [
            slot
            for slot, place in zip(self.slots, places, strict=True)
            if slot.answers is False
            and not slot.is_ours_to_mend
            and not (place is not None and self._kernel.is_removed(place))
        ]

    def _plan_reopening(self, now: float) -> None:
        if self._opened_at is not None and now - self._opened_at > CALM_SECONDS:
            self._reopen_seconds = FIRST_REOPEN_SECONDS
        self._opened_at = now
        self._reopen_at = now + self._reopen_seconds
        self._reopen_seconds = min(2 * self._reopen_seconds, LAST_REOPEN_SECONDS)

    def _asleep(self, now: float) -> dict[str, PciPower]:
        """The kernel module's GPUs that are asleep or left alone, by bus id."""
        powers = {place: PciPower(place, self._pci_folder) for place in self._kernel.bus_ids}
        if self._rest.goes_on(powers, now):
            return powers
        return {place: power for place, power in powers.items() if power.is_asleep(now)}

    def _mark_all_asleep(self, asleep: dict[str, PciPower]) -> None:
        """NVML stays closed; `open` checks again every second."""
        self._is_open = False
        self.finding = None
        self._reopen_seconds = FIRST_REOPEN_SECONDS
        self.slots = arrange([*enumerate(asleep.values())], self.slots)
        for slot in self.slots:
            slot.power = None
            if self._rest.is_falling_asleep and slot.absent is not None:
                slot.absent = slot.absent._replace(reason=RESTING)

    def _is_to_rest(self, now: float) -> bool:
        """Whether it is time to leave the GPUs alone."""
        readings = [slot.absent or (slot.latest and slot.latest.reading) for slot in self.slots]
        known = [reading for reading in readings if reading is not None]
        is_known = self._is_open and len(known) == len(readings)
        return is_known and self._rest.is_due(known, now)

    def _wanted(self, asleep: dict[str, PciPower]) -> list[Opening | PciPower]:
        """All GPUs: by index, but by bus id where some are asleep, whose index is not known.

        Where NVML counts more GPUs than the kernel module lists, all are opened.
        """
        folder, places = self._pci_folder, self._kernel.bus_ids
        if not asleep or self._count > len(places):
            return [
                Opening(index, partial(Device.by_index, index, pci_folder=folder))
                for index in range(self._count)
            ]
        return [
            asleep.get(place) or Opening(place, partial(Device.at, place, pci_folder=folder))
            for place in places
        ]

    def _settle(self, now: float) -> None:
        """Give the GPUs opened so far their rows; the others once all are known or given up."""
        is_complete = not self.openings.is_busy(now)
        progress = (self.openings.done, is_complete)
        if progress != self._settled:
            found: list[Found] = [*self.openings.opened()]
            if is_complete:
                found = self.openings.found()
            self.slots = arrange(found, self.slots, self._kernel.bus_ids, is_complete)
            self._settled = progress
