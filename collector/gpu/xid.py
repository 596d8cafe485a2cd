"""Critical errors (Xid) that the driver reports of a GPU as they happen, as reasons in words."""

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pynvml

from gpu_monitor.collector.gpu.nvml_errors import TIMEOUT, NvmlError
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Trace

XID_FADE_SECONDS = 86400.0
"""An error needs attention for this long after the last one with the same code."""
MAX_XID_CODES = 8
MAX_XID_EVENTS = 64
"""Events handled in one go; those that wait longer are handled the next time."""

OF_PROGRAMS = frozenset({13, 31, 43, 45, 68, 69, 109})
"""Usually the fault of a program, which ends with an error; the GPU is well."""

_XID_WORDS = {
    32: "corrupted commands reached the GPU",
    38: "firmware failure",
    46: "the GPU stopped processing",
    48: "uncorrectable memory (ECC) error",
    54: "power cable not connected",
    61: "the GPU's internal controller reported a warning",
    62: "the GPU's internal controller halted: reset the GPU",
    63: "faulty memory will be taken out of use at the next reset",
    64: "faulty memory could not be taken out of use: reset the GPU",
    74: "NVLink error",
    79: "the GPU fell off the bus: reset it or reboot",
    92: "many correctable memory (ECC) errors",
    94: "memory error that ended the program that hit it, and no other",
    95: "memory error that may have affected any program: reset the GPU",
    119: "the GPU's system processor (GSP) does not respond: reset the GPU",
    120: "the GPU's system processor (GSP) failed: reset the GPU",
    140: "uncorrectable memory (ECC) error: reset the GPU",
    143: "the GPU could not be initialized",
}
"""From NVIDIA's catalogue of Xid errors; one that is not here is reported by its number alone."""
FAILURES = frozenset({79})
"""After these the GPU is of no use until it is reset or repaired."""


class _Code(NamedTuple):
    code: int
    times: int
    last_at: float
    words: str


class XidLog:
    """The errors of one GPU since the collector started; the driver reports none from before.

    Written by one thread and read by another. `clock` is in unix seconds, every other time in
    monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._codes: tuple[_Code, ...] = ()

    def record(self, code: int, now: float) -> None:
        """Add an error, unless it is one of a program."""
        if code in OF_PROGRAMS:
            return
        before = next((each.times for each in self._codes if each.code == code), 0)
        at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._clock()))
        when = f"{before + 1} times, last at {at}" if before else f"at {at}"
        what = f" ({_XID_WORDS[code]})" if code in _XID_WORDS else ""
        latest = _Code(code, before + 1, now, f"Xid {code}{what} {when}")
        others = (each for each in self._codes if each.code != code)
        self._codes = (latest, *others)[:MAX_XID_CODES]

    def reasons(self, now: float) -> tuple[str, ...]:
        """The recent errors in words, one per code, the latest first."""
        return tuple(each.words for each in self._recent(now))

    def has_failed(self, now: float) -> bool:
        """Whether one of them means that the GPU has failed."""
        return any(each.code in FAILURES for each in self._recent(now))

    def _recent(self, now: float) -> tuple[_Code, ...]:
        return tuple(each for each in self._codes if now - each.last_at < XID_FADE_SECONDS)


class XidEvents:
    """Receives the errors of the GPUs that NVML has open; for the thread that opens and closes it.

    `trace` names the NVML call that is running.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._set: Any = None
        self._logs: dict[int, XidLog] = {}

    def drain(self, gpus: Iterable[tuple[Handle, XidLog]], now: float) -> None:
        """Record every error since the last call; for a new GPU, those from now on.

        A GPU for which the driver reports none is not registered again. `now` is monotonic.
        """
        with contextlib.suppress(NvmlError):
            if self._set is None:
                self._set = self._trace.call(pynvml.nvmlEventSetCreate)
            for handle, log in gpus:
                self._register(handle, log)
            for _ in range(MAX_XID_EVENTS):
                event = self._next()
                if event is None:
                    return
                if (found := self._logs.get(_address(event.device))) is not None:
                    found.record(int(event.eventData), now)

    def close(self, is_calm: bool) -> None:
        """Before NVML is closed or reopened; `is_calm`: no thread hangs in a call."""
        if is_calm and self._set is not None:
            with contextlib.suppress(NvmlError):
                self._trace.call(pynvml.nvmlEventSetFree, self._set)
        self._set = None
        self._logs = {}

    def _register(self, handle: Handle, log: XidLog) -> None:
        address = _address(handle.pointer)
        if address not in self._logs:
            self._logs[address] = log
            kind = pynvml.nvmlEventTypeXidCriticalError
            self._trace.call(pynvml.nvmlDeviceRegisterEvents, handle.pointer, kind, self._set)

    def _next(self) -> Any:
        """The next event; None, after a millisecond, where there is none.

        NVML does not say what a wait of no time at all would do.
        """
        try:
            return self._trace.call(pynvml.nvmlEventSetWait_v2, self._set, 1)
        except NvmlError as error:
            if error.code == TIMEOUT:
                return None
            raise


def _address(device: Any) -> int:
    """Identifies a device (nvmlDevice_t) as long as NVML is open."""
    return ctypes.cast(device, ctypes.c_void_p).value or 0
