"""Critical errors (Xid) that the driver reports of a GPU as they happen, as findings."""

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pynvml

from gpu_monitor.collector.findings import Finding, Severity
from gpu_monitor.collector.gpu.nvml_errors import TIMEOUT, NvmlError
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.xid_catalog import (
    APPLICATION_XIDS,
    CROSS_USER_XIDS,
    FAILED_XIDS,
    describe,
)

XID_FADE_SECONDS = 86400.0
"""An error that leaves the GPU usable needs attention for this long after the last one with its
code."""
MAX_XID_CODES = 8
MAX_XID_EVENTS = 64
"""Events handled in one go; those that wait longer are handled the next time."""


class _Code(NamedTuple):
    code: int
    times: int
    last_at: float
    finding: Finding


class XidLog:
    """The errors of one GPU since the collector started; the driver reports none from before.

    Those that leave the GPU useless are kept until `mark_reset`, the others for a day. Written by
    one thread and read by another. `clock` is in unix seconds, every other time in monotonic
    seconds. `users` are the ids of those whose processes were on the GPU just before.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        users: Callable[[float], frozenset[int]] = lambda now: frozenset(),
    ) -> None:
        self._clock = clock
        self._users = users
        self._codes: tuple[_Code, ...] = ()
        self._hit_users: dict[int, float] = {}

    def record(self, code: int, now: float) -> None:
        """Add an error, unless it is the fault of a program."""
        if code in CROSS_USER_XIDS:
            self._record_user(now)
        if code in APPLICATION_XIDS:
            return
        before = next((each.times for each in self._codes if each.code == code), 0)
        at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._clock()))
        when = f"{before + 1} times, last at {at}" if before else f"at {at}"
        latest = _Code(code, before + 1, now, _finding(code, when))
        codes = (latest, *(each for each in self._codes if each.code != code))
        if len(codes) > MAX_XID_CODES:
            codes = _without_oldest(codes)
        self._codes = codes

    def mark_reset(self) -> None:
        """Forget the errors that a reset, a reload of the driver or a repair ends."""
        self._codes = tuple(each for each in self._codes if each.code not in FAILED_XIDS)

    def findings(self, now: float) -> tuple[Finding, ...]:
        """One per code, the latest first."""
        found = [each.finding for each in self._current(now)]
        users = sum(now - at < XID_FADE_SECONDS for at in self._hit_users.values())
        if users > 1:
            words = f"Xid 13 or 31 ended programs of {users} users within a day"
            advice = "test the GPU (dcgmi diag -r 3)"
            found.append(Finding("xid", "warning", words, advice, key="users"))
        return tuple(found)

    def _record_user(self, now: float) -> None:
        """With several users on the GPU it is not known whose program it was."""
        users = self._users(now)
        if len(users) == 1:
            recent = {uid: at for uid, at in self._hit_users.items() if now - at < XID_FADE_SECONDS}
            self._hit_users = recent | dict.fromkeys(users, now)

    def _current(self, now: float) -> tuple[_Code, ...]:
        return tuple(
            each
            for each in self._codes
            if each.code in FAILED_XIDS or now - each.last_at < XID_FADE_SECONDS
        )


def _finding(code: int, when: str) -> Finding:
    severity: Severity = "critical" if code in FAILED_XIDS else "warning"
    meaning, advice = describe(code)
    what = f"Xid {code} ({meaning})" if meaning else f"Xid {code}"
    return Finding("xid", severity, f"{what} {when}", advice, key=str(code))


def _without_oldest(codes: tuple[_Code, ...]) -> tuple[_Code, ...]:
    """The codes, latest first, less the oldest; one that leaves the GPU usable goes first."""
    usable = [each for each in codes if each.code not in FAILED_XIDS]
    oldest = usable[-1] if usable else codes[-1]
    return tuple(each for each in codes if each is not oldest)


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
