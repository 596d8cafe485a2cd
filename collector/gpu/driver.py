"""The driver and its GPUs over the collector's life: opened, lost, opened again."""

import itertools
import os
from collections.abc import Callable

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.installation import DriverInstallation
from gpu_monitor.collector.gpu.nvml_errors import (
    CLOSED,
    LIB_RM_VERSION_MISMATCH,
    LOST,
    NOT_FOUND,
    InternalError,
    NvmlError,
)
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.pci import PCI_FOLDER, PciBus, PciPower, nvml_bus_id
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.rest import RESTING, Rest
from gpu_monitor.collector.gpu.slots import Found, Slot, arrange
from gpu_monitor.collector.gpu.xid import XidEvents

FIRST_REOPEN_SECONDS = 1.0
LAST_REOPEN_SECONDS = 8.0
"""So that a driver that is back is found within ten seconds."""
CALM_SECONDS = 30.0
"""After this long without a reopening the next one waits for as little as the first."""
CHANGE_CHECK_SECONDS = 5.0
LOST_REOPEN_SECONDS = (30.0, 300.0)
"""A lost GPU that was reset is found by opening NVML again only, which is expensive: the first
wait and the longest."""
GPU_FOLDER = "/proc/driver/nvidia/gpus"


class Driver:
    """NVML, opened, closed and opened again; each method but `is_due` may block as the driver does.

    `slots` are the GPUs in the order of the bus. `finding` says why there is no driver, None while
    there is one. `bus` has the GPUs that the driver does not list. `trace` names the NVML call that
    is running.
    """

    def __init__(
        self,
        pci_folder: str = PCI_FOLDER,
        gpu_folder: str = GPU_FOLDER,
        device_folder: str = "/dev",
    ) -> None:
        self.trace = Trace()
        self.slots: tuple[Slot, ...] = ()
        self.finding: Finding | None = None
        self.driver_version: str | None = None
        self.cuda_version: str | None = None
        self.bus = PciBus(pci_folder, gpu_folder, device_folder)
        self._pci_folder = pci_folder
        self._gpu_folder = gpu_folder
        self._rest = Rest(pci_folder, gpu_folder)
        self._installation = DriverInstallation(
            pci_folder, os.path.dirname(gpu_folder), device_folder
        )
        self._events = XidEvents(self.trace)
        self._is_open = False
        self._mismatch = False
        self._changed = False
        self._count = 0
        self._check_at = 0.0
        self._present: list[str] = []
        self._reopen_at = 0.0
        self._reopen_seconds = FIRST_REOPEN_SECONDS
        self._opened_at: float | None = None
        self._lost_at: float | None = None
        self._lost_reopen_seconds = LOST_REOPEN_SECONDS[0]

    def is_due(self, now: float) -> bool:
        """Whether it is time to `open`; `now` in monotonic seconds."""
        if self._opened_at is None:
            return True
        if now < self._reopen_at:
            return False
        if self._is_to_rest(now):
            return True
        return not self._is_open or self._changed or self._has_closed() or self._lost_due(now)

    def close(self) -> None:
        """Close NVML; only while no thread is in a call."""
        if self._is_open:
            self._is_open = False
            self._events.close(is_calm=True)
            self._close_library()

    def check_for_changes(self, now: float) -> None:
        """Every 5 s: have GPUs come or gone, what errors did they have, which are not listed."""
        if self._is_open and now >= self._check_at:
            self._check_at = now + CHANGE_CHECK_SECONDS
            self._changed = self._has_changed()
            if not self._changed:
                self._drain_events(now)
                self.trace.function = self._gpu_folder
                self.bus.scan([slot.identity.pci_bus_id for slot in self.slots], now)

    def open(self, now: float, is_calm: bool) -> None:
        """Open NVML, closing it first if it was open, and find its GPUs.

        No other thread may begin a call meanwhile. `is_calm` means that none is in one either:
        only then is NVML closed, because a call that returns into a closed library may crash the
        process. A GPU that is asleep is not opened, and NVML is not while all of them are asleep
        or left alone so that they can fall asleep.
        """
        self._plan_reopening(now)
        if self._rest.is_ready:
            if not is_calm:
                return
            self._rest.begin(now)
        self._events.close(is_calm)
        if self._is_open and is_calm:
            self._close_library()
        if self._mismatch and is_calm:
            nvml.unload_library()
        self._changed = True  # until everything below has succeeded
        self._present = self._gpus_of_the_kernel()
        self._check_at = now + CHANGE_CHECK_SECONDS
        asleep = self._asleep(now)
        found: list[Found] = []
        if asleep and len(asleep) == len(self._present):
            self._mark_all_asleep(asleep)
        elif self._open_library():
            found = self._find_gpus(asleep)
            self.slots = arrange(found, self.slots, map(nvml_bus_id, self._present))
        self._changed = not CLOSED.isdisjoint(_error_codes(found))

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

    def _close_library(self) -> None:
        for slot in self.slots:
            slot.close()
        nvml.close_library(self.trace)

    def _drain_events(self, now: float) -> None:
        """A GPU is registered after its first reading: before, it may be asleep, and registering
        may wake it."""
        self._events.drain(
            (
                (slot.device.handle, slot.xids)
                for slot in self.slots
                if slot.device is not None
                and slot.latest is not None
                and slot.latest.reading.state == "ok"
            ),
            now,
        )

    def _has_closed(self) -> bool:
        failures = (slot.device.failure for slot in self.slots if slot.device is not None)
        return any(failure is not None and failure.code in CLOSED for failure in failures)

    def _lost_due(self, now: float) -> bool:
        devices = (slot.device for slot in self.slots)
        failures = [device.failure for device in devices if device is not None]
        lost = any(failure is not None and failure.code in LOST for failure in failures)
        if not (lost or any(slot.unopened for slot in self.slots)):
            self._lost_at, self._lost_reopen_seconds = None, LOST_REOPEN_SECONDS[0]
            return False
        if self._lost_at is None:
            self._lost_at = now
        return now - self._lost_at >= self._lost_reopen_seconds

    def _has_changed(self) -> bool:
        """NVML counts GPUs only when it is opened: the kernel module's folder shows more."""
        try:
            count = nvml.device_count(self.trace)
        except NvmlError as error:
            return error.code in CLOSED
        return count != self._count or self._gpus_of_the_kernel() != self._present

    def _gpus_of_the_kernel(self) -> list[str]:
        try:
            return sorted(os.listdir(self._gpu_folder))
        except OSError:
            return []

    def _plan_reopening(self, now: float) -> None:
        if self._opened_at is not None and now - self._opened_at > CALM_SECONDS:
            self._reopen_seconds = FIRST_REOPEN_SECONDS
        self._opened_at = now
        self._reopen_at = now + self._reopen_seconds
        self._reopen_seconds = min(2 * self._reopen_seconds, LAST_REOPEN_SECONDS)
        if self._lost_at is not None:
            self._lost_at = now
            self._lost_reopen_seconds = min(2 * self._lost_reopen_seconds, LOST_REOPEN_SECONDS[1])

    def _asleep(self, now: float) -> dict[str, PciPower]:
        """The kernel module's GPUs that are asleep or left alone, by bus id."""
        places = map(nvml_bus_id, self._present)
        powers = {place: PciPower(place, self._pci_folder) for place in places}
        if self._rest.goes_on(powers, now):
            return powers
        return {place: power for place, power in powers.items() if power.is_asleep(now)}

    def _mark_all_asleep(self, asleep: dict[str, PciPower]) -> None:
        """NVML stays closed; `open` checks again every second."""
        self._is_open = False
        self.finding = self._lost_at = None
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

    def _find_gpus(self, asleep: dict[str, PciPower]) -> list[Found]:
        """All GPUs: by index, but by bus id where some are asleep, whose index is not known.

        A GPU that is not opened is given one of the remaining indices, in the order of the bus.
        Where NVML counts more GPUs than the kernel module lists, all are opened.
        """
        if not asleep or self._count > len(self._present):
            return [self._opened_by_index(index) for index in range(self._count)]
        places = map(nvml_bus_id, self._present)
        seen = [asleep.get(place) or self._opened_by_bus_id(place) for place in places]
        taken = {each.identity.number for each in seen if isinstance(each, Device)}
        left = (index for index in itertools.count() if index not in taken)
        return [
            each if isinstance(each, Device) else (next(left), each)
            for each in seen
            if not (isinstance(each, NvmlError) and each.code == NOT_FOUND)
        ]

    def _opened_by_index(self, index: int) -> Found:
        opened = self._opened(
            f"GPU {index}",
            lambda: Device(index, Handle.by_index(index, self.trace), self._pci_folder),
        )
        return opened if isinstance(opened, Device) else (index, opened)

    def _opened_by_bus_id(self, place: str) -> Device | NvmlError:
        return self._opened(f"GPU {place}", lambda: Device.at(place, self.trace, self._pci_folder))

    def _opened(self, subject: str, open_device: Callable[[], Device]) -> Device | NvmlError:
        self.trace.subject = subject
        try:
            device = open_device()
        except NvmlError as error:
            return error
        except Exception as error:
            return InternalError(subject, error)
        finally:
            self.trace.subject = ""
        device.handle.trace = Trace()  # another thread than this one may read it
        return device


def _error_codes(found: list[Found]) -> list[int]:
    """The error codes of the GPUs that could not be opened."""
    reasons = (each[1] for each in found if not isinstance(each, Device))
    return [reason.code for reason in reasons if isinstance(reason, NvmlError)]
