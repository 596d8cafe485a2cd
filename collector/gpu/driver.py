"""The driver and its GPUs over the collector's life: opened, lost, opened again."""

import itertools
import os

from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.nvml_errors import (
    CLOSED,
    LIB_RM_VERSION_MISMATCH,
    LOST,
    NOT_FOUND,
    NvmlError,
)
from gpu_monitor.collector.gpu.pci import Bus
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.sleep import PCI_FOLDER, Sleep, bus_id
from gpu_monitor.collector.gpu.slots import Found, Slot, placed
from gpu_monitor.collector.gpu.xid import Listener

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 8.0
"""A driver that is back is seen within ten seconds."""
QUIET_SECONDS = 30.0
"""After so long without trouble the next retry is quick again."""
COUNT_SECONDS = 5.0
LOST_RETRY_SECONDS = (30.0, 300.0)
"""A lost GPU that was reset is seen by a new opening only; opening costs, so rarely."""
GPU_FOLDER = "/proc/driver/nvidia/gpus"


class Driver:
    """NVML opened, closed and opened again; all methods but `due` may block as the driver does.

    `slots` are the GPUs in the order of the bus, `problem` says why there is no driver, `bus`
    which GPUs it does not list.
    """

    def __init__(
        self,
        pci_folder: str = PCI_FOLDER,
        gpu_folder: str = GPU_FOLDER,
        device_folder: str = "/dev",
    ) -> None:
        self.trace = Trace()
        self.slots: tuple[Slot, ...] = ()
        self.problem: str | None = None
        self.driver_version: str | None = None
        self.cuda_version: str | None = None
        self.bus = Bus(pci_folder, gpu_folder, device_folder)
        self._pci_folder = pci_folder
        self._gpu_folder = gpu_folder
        self._listener = Listener()
        self._is_open = False
        self._mismatch = False
        self._changed = False
        self._count = 0
        self._count_at = 0.0
        self._present: list[str] = []
        self._retry_at = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._tried_at: float | None = None
        self._lost_at: float | None = None
        self._lost_retry_seconds = LOST_RETRY_SECONDS[0]

    def due(self, now: float) -> bool:
        """Whether it is time to `open`; `now` in monotonic seconds."""
        if self._tried_at is None:
            return True
        if now < self._retry_at:
            return False
        return not self._is_open or self._changed or self._is_closed() or self._lost_due(now)

    def close(self) -> None:
        """Close NVML; with no thread in a call only."""
        if self._is_open:
            self._is_open = False
            self._listener.end(free=True)
            nvml.close_library()

    def count(self, now: float) -> None:
        """Every 5 s, look whether GPUs came or went, what happened to them, and which the driver
        does not list."""
        if self._is_open and now >= self._count_at:
            self._count_at = now + COUNT_SECONDS
            self._changed = self._look_for_change()
            if not self._changed:
                self._listen(now)
                self.trace.calling = "/proc/driver/nvidia"
                self.bus.look([slot.identity.pci_bus_id for slot in self.slots], now)

    def _listen(self, now: float) -> None:
        """Of a GPU that sleeps nothing is heard before it was read: that might wake it."""
        self.trace.calling = "nvmlEventSetWait_v2"
        self._listener.look(
            (
                (slot.device.handle, slot.xids)
                for slot in self.slots
                if slot.device is not None
                and slot.latest is not None
                and slot.latest.reading.state == "ok"
            ),
            now,
        )

    def _is_closed(self) -> bool:
        failures = (slot.device.failure for slot in self.slots if slot.device is not None)
        return any(failure is not None and failure.code in CLOSED for failure in failures)

    def _lost_due(self, now: float) -> bool:
        devices = (slot.device for slot in self.slots)
        failures = [device.failure for device in devices if device is not None]
        lost = any(failure is not None and failure.code in LOST for failure in failures)
        if not (lost or any(slot.unopened for slot in self.slots)):
            self._lost_at, self._lost_retry_seconds = None, LOST_RETRY_SECONDS[0]
            return False
        if self._lost_at is None:
            self._lost_at = now
        return now - self._lost_at >= self._lost_retry_seconds

    def _look_for_change(self) -> bool:
        """NVML counts when it is opened and not again; the kernel module's folder tells sooner."""
        try:
            self.trace.calling = "nvmlDeviceGetCount_v2"
            count = nvml.device_count()
        except NvmlError as error:
            return error.code in CLOSED
        return count != self._count or self._gpus_of_the_kernel() != self._present

    def _gpus_of_the_kernel(self) -> list[str]:
        try:
            return sorted(os.listdir(self._gpu_folder))
        except OSError:
            return []

    def open(self, now: float, calm: bool) -> None:
        """Open NVML, closing it before if it was open, and find its GPUs.

        No other thread may begin a call meanwhile. `calm` means that none is in one either: only
        then NVML is closed, for a call that returns into a closed library may crash the process.
        A GPU that sleeps is not opened, and while all of them sleep NVML is not either.
        """
        self._plan_retry(now)
        self.trace.calling = "nvmlEventSetFree"
        self._listener.end(free=calm)
        if self._is_open and calm:
            nvml.close_library()
        if self._mismatch and calm:
            nvml.unload_library()
        self._changed = False
        self._present = self._gpus_of_the_kernel()
        self._count_at = now + COUNT_SECONDS
        sleepers = self._sleepers(now)
        if sleepers and len(sleepers) == len(self._present):
            self._rest(sleepers)
            return
        try:
            self.trace.calling = "nvmlInit"
            nvml.open_library()
            self.driver_version, self.cuda_version = nvml.versions()
            self._count = nvml.device_count()
        except NvmlError as error:
            self._is_open = False
            self._mismatch = error.code == LIB_RM_VERSION_MISMATCH
            self.problem = str(error)
            for slot in self.slots:
                slot.lose("error", str(error))
            return
        self._is_open, self._mismatch, self.problem = True, False, None
        found = self._find(sleepers)
        self._changed = not CLOSED.isdisjoint(_errors(found))
        self.slots = placed(found, self.slots)

    def _plan_retry(self, now: float) -> None:
        if self._tried_at is not None and now - self._tried_at > QUIET_SECONDS:
            self._retry_seconds = FIRST_RETRY_SECONDS
        self._tried_at = now
        self._retry_at = now + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)
        if self._lost_at is not None:
            self._lost_at = now
            self._lost_retry_seconds = min(2 * self._lost_retry_seconds, LOST_RETRY_SECONDS[1])

    def _sleepers(self, now: float) -> dict[str, Sleep]:
        """The kernel module's GPUs that sleep, by bus id."""
        places = map(bus_id, self._present)
        looks = {place: Sleep(place, self._pci_folder) for place in places}
        return {place: sleep for place, sleep in looks.items() if sleep.now(now)}

    def _rest(self, sleepers: dict[str, Sleep]) -> None:
        """All GPUs sleep; `open` looks again every second, for until then NVML opens none."""
        self._is_open = False
        self.problem = self._lost_at = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self.slots = placed([*enumerate(sleepers.values())], self.slots)
        for slot in self.slots:
            slot.sleep = None

    def _find(self, sleepers: dict[str, Sleep]) -> list[Found]:
        """All GPUs: by index, but beside sleepers by bus id, as only an open GPU tells its index.

        What is not opened takes the indices that are left, in the order of the bus. All are
        opened where NVML counts more than the kernel module lists.
        """
        if not sleepers or self._count > len(self._present):
            return [self._device(index) for index in range(self._count)]
        places = map(bus_id, self._present)
        seen = [sleepers.get(place) or self._device_at(place) for place in places]
        taken = {each.identity.number for each in seen if isinstance(each, Device)}
        left = (index for index in itertools.count() if index not in taken)
        return [
            each if isinstance(each, Device) else (next(left), each)
            for each in seen
            if not (isinstance(each, NvmlError) and each.code == NOT_FOUND)
        ]

    def _device(self, index: int) -> Found:
        trace = Trace()
        try:
            self.trace.calling = f"nvmlDeviceGetHandleByIndex_v2 of GPU {index}"
            handle = nvml.Handle.by_index(index)
            return Device(index, handle, trace, self._pci_folder)
        except NvmlError as error:
            return index, error

    def _device_at(self, place: str) -> Device | NvmlError:
        try:
            self.trace.calling = f"nvmlDeviceGetHandleByPciBusId_v2 of {place}"
            return Device.at(place, Trace(), self._pci_folder)
        except NvmlError as error:
            return error


def _errors(found: list[Found]) -> list[int]:
    """The codes of what could not be opened."""
    reasons = (each[1] for each in found if not isinstance(each, Device))
    return [reason.code for reason in reasons if isinstance(reason, NvmlError)]
