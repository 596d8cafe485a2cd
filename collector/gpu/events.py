"""NVML's events: critical errors (Xid) of devices, as they happen."""

import ctypes
from typing import Any, NamedTuple

import pynvml

from gpu_monitor.collector.gpu.calls import asked
from gpu_monitor.collector.gpu.nvml_errors import TIMEOUT, NvmlError


class Event(NamedTuple):
    """A critical error of the device that has this address."""

    address: int
    xid: int


class EventSet:
    """The critical errors (Xid) of the devices registered, on Linux; void once NVML is closed.

    One thread at a time; each method raises NvmlError.
    """

    def __init__(self) -> None:
        self._set = asked("nvmlEventSetCreate", pynvml.nvmlEventSetCreate)

    def register(self, device: Any) -> None:
        """Hear of what happens to a device (Handle.pointer) from now on."""
        kind = pynvml.nvmlEventTypeXidCriticalError
        name = "nvmlDeviceRegisterEvents"
        asked(name, pynvml.nvmlDeviceRegisterEvents, device, kind, self._set)

    def next(self) -> Event | None:
        """What has happened and was not told yet; None, after a millisecond, for nothing.

        NVML does not say what a wait of no time at all would be.
        """
        try:
            event: Any = asked("nvmlEventSetWait_v2", pynvml.nvmlEventSetWait, self._set, 1)
        except NvmlError as error:
            if error.code == TIMEOUT:
                return None
            raise
        return Event(address(event.device), int(event.eventData))

    def free(self) -> None:
        """Nothing is said of a set that NVML does not know any more."""
        try:
            asked("nvmlEventSetFree", pynvml.nvmlEventSetFree, self._set)
        except NvmlError:
            return


def address(device: Any) -> int:
    """What tells a device from others as long as NVML is open; `device` is Handle.pointer."""
    return ctypes.cast(device, ctypes.c_void_p).value or 0
