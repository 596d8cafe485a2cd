"""Critical errors (Xid) that the driver reports of a GPU as they happen, as findings."""

import contextlib
import ctypes
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pynvml

from gpu_monitor.collector.findings import Finding, Severity
from gpu_monitor.collector.gpu.nvml_errors import LOST, TIMEOUT, NvmlError
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.readings import Identity
from gpu_monitor.collector.gpu.xid_catalog import (
    APPLICATION_XIDS,
    CROSS_USER_XIDS,
    FAILED_XIDS,
    describe,
)

XID_FADE_SECONDS = 86400.0
"""An error that leaves the GPU usable needs attention for this long after the last one with its
code."""
XID_RECEIVE_SECONDS = 5.0
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
    seconds. `users` are the ids of those whose processes were on the GPU just before. `loss` says
    when the driver lost the GPU, None once the GPU answers.
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
        self.loss: Finding | None = None

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

    def record_loss(self) -> None:
        """The driver reports, in place of events, that the GPU is lost."""
        at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._clock()))
        advice = "search the kernel log for NVRM and Xid"
        self.loss = Finding("gpu_lost", "critical", f"the driver lost the GPU at {at}", advice)

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
    """Receives the errors of one GPU, for the thread that reads it.

    Each GPU has an event set of its own: with a lost GPU in it, a set reports nothing but the loss
    (NVIDIA/k8s-test-infra#746).
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._set: Any = None
        self._is_registered = False
        self._drained_at = 0.0

    def receive(self, gpu: Identity, log: XidLog, is_ok: bool, now: float) -> None:
        """Every 5 s, record every error since the last time; at first, those from now on.

        `is_ok` means that the GPU could just be read: before, it may be asleep, and registering it
        may wake it. One of which the driver reports no errors is not registered again. The set of
        a lost GPU is asked once. `now` is monotonic.
        """
        if is_ok and not self._is_registered:
            self._is_registered = True
            self._drained_at = now - gpu.number % XID_RECEIVE_SECONDS
            self._register()
        elif now - self._drained_at >= XID_RECEIVE_SECONDS and log.loss is None:
            self._drained_at = now
            self._drain(gpu, log, now)

    def close(self) -> None:
        """Free the event set; no thread may be in a call about the GPU."""
        if self._set is not None:
            with contextlib.suppress(NvmlError):
                self._handle.trace.call(pynvml.nvmlEventSetFree, self._set)
        self._set = None

    def _register(self) -> None:
        call = self._handle.trace.call
        try:
            self._set = call(pynvml.nvmlEventSetCreate)
            kind = pynvml.nvmlEventTypeXidCriticalError
            call(pynvml.nvmlDeviceRegisterEvents, self._handle.pointer, kind, self._set)
        except NvmlError:
            self.close()

    def _drain(self, gpu: Identity, log: XidLog, now: float) -> None:
        try:
            for _ in range(MAX_XID_EVENTS if self._set is not None else 0):
                event = self._next()
                if event is None:
                    return
                if self._is_about(gpu, event.device):
                    log.record(int(event.eventData), now)
        except NvmlError as error:
            if error.code in LOST:
                log.record_loss()

    def _is_about(self, gpu: Identity, device: Any) -> bool:
        """Whether an event is the GPU's: by NVML's handle of it, else by UUID or index, because
        there may be several handles of one GPU. One that says nothing is of the set's only GPU."""
        if _address(device) == _address(self._handle.pointer):
            return True
        other = Handle(device, self._handle.trace)
        for ask, known in ((other.uuid, gpu.uuid), (other.index, gpu.number)):
            with contextlib.suppress(NvmlError):
                if known is not None:
                    return ask() == known
        return True

    def _next(self) -> Any:
        """The next event; None, after a millisecond, where there is none.

        NVML does not say what a wait of no time at all would do.
        """
        try:
            return self._handle.trace.call(pynvml.nvmlEventSetWait_v2, self._set, 1)
        except NvmlError as error:
            if error.code == TIMEOUT:
                return None
            raise


def _address(device: Any) -> int:
    """Identifies a device (nvmlDevice_t) as long as NVML is open."""
    return ctypes.cast(device, ctypes.c_void_p).value or 0
