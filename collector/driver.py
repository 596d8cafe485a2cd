"""The driver and its GPUs over the collector's life: opened, lost, opened again."""

import os

from collector import nvml
from collector.device import Device
from collector.failures import CLOSED, LIB_RM_VERSION_MISMATCH, LOST, NvmlError
from collector.questions import Trace
from collector.sleep import PCI_FOLDER
from collector.slots import Found, Slot, placed

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

    `slots` are the GPUs in the order of the bus, `problem` says why there is no driver.
    """

    def __init__(self, pci_folder: str = PCI_FOLDER, gpu_folder: str = GPU_FOLDER) -> None:
        self.trace = Trace()
        self.slots: tuple[Slot, ...] = ()
        self.problem: str | None = None
        self.driver_version: str | None = None
        self.cuda_version: str | None = None
        self._pci_folder = pci_folder
        self._gpu_folder = gpu_folder
        self._is_open = False
        self._mismatch = False
        self._changed = False
        self._count = 0
        self._count_at = 0.0
        self._unopened = False
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
            nvml.close_library()

    def count(self, now: float) -> None:
        """Every 5 s, look whether GPUs came or went."""
        if self._is_open and now >= self._count_at:
            self._count_at = now + COUNT_SECONDS
            self._changed = self._look_for_change()

    def _is_closed(self) -> bool:
        failures = (slot.device.failure for slot in self.slots if slot.device is not None)
        return any(failure is not None and failure.code in CLOSED for failure in failures)

    def _lost_due(self, now: float) -> bool:
        devices = (slot.device for slot in self.slots)
        failures = [device.failure for device in devices if device is not None]
        lost = any(failure is not None and failure.code in LOST for failure in failures)
        if not (lost or self._unopened):
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
        """
        self._plan_retry(now)
        if self._is_open and calm:
            nvml.close_library()
        if self._mismatch and calm:
            nvml.unload_library()
        self._changed = False
        self._present = self._gpus_of_the_kernel()
        self._count_at = now + COUNT_SECONDS
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
        found = [self._device(index) for index in range(self._count)]
        errors = [each[1].code for each in found if not isinstance(each, Device)]
        self._unopened = bool(errors)
        self._changed = not CLOSED.isdisjoint(errors)
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

    def _device(self, index: int) -> Found:
        trace = Trace()
        try:
            self.trace.calling = f"nvmlDeviceGetHandleByIndex_v2 of GPU {index}"
            handle = nvml.Handle.by_index(index)
            return Device(index, handle, trace, self._pci_folder)
        except NvmlError as error:
            return index, error
