"""Critical errors that the driver reports of a GPU as they happen (Xid), in words."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gpu_monitor.collector.gpu.events import EventSet, address
from gpu_monitor.collector.gpu.nvml import Handle
from gpu_monitor.collector.gpu.nvml_errors import NvmlError

FADE_SECONDS = 86400.0
"""So long after the last one of its kind a GPU is no longer in need of attention for it."""
MAX_KINDS = 8
MAX_EVENTS = 64
"""Of one look; what waits longer is heard in the next."""

OF_PROGRAMS = frozenset({13, 31, 43, 45, 68, 69, 109})
"""What a program's own fault causes as a rule: it ends with an error, and the GPU is well."""

_WORDS = {
    32: "commands that arrived corrupted",
    38: "the GPU's firmware failed",
    46: "the GPU stopped processing",
    48: "memory error that ECC could not correct",
    54: "power cable not connected",
    61: "the GPU's controller gave a warning",
    62: "the GPU's controller halted: reset the GPU",
    63: "faulty memory was taken out of use from the next reset on",
    64: "faulty memory could not be taken out of use: reset the GPU",
    74: "error of an NVLink",
    79: "the GPU fell off the bus: reset or reboot needed",
    92: "many memory errors that ECC could correct",
    94: "memory error that ended the program that met it, and no other",
    95: "memory error that may have met any program: reset the GPU",
    119: "the GPU's own processor (GSP) does not answer: reset the GPU",
    120: "the GPU's own processor (GSP) failed: reset the GPU",
    140: "memory error that ECC could not correct: reset the GPU",
    143: "the GPU could not be started",
}
"""After NVIDIA's catalogue of Xid errors; one that is not here is told by its number."""


FAILURES = frozenset({79})
"""After these the GPU is of no use until it is reset or repaired."""


class _Kind(NamedTuple):
    code: int
    times: int
    last_at: float
    words: str


class Xids:
    """The errors of one GPU since the collector runs; the driver tells none of before.

    Heard by one thread and read by another. `clock` is in unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kinds: tuple[_Kind, ...] = ()

    def add(self, code: int, now: float) -> None:
        """One has happened; `now` is monotonic."""
        if code in OF_PROGRAMS:
            return
        before = next((kind.times for kind in self._kinds if kind.code == code), 0)
        at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._clock()))
        when = f"{before + 1} times, last at {at}" if before else f"at {at}"
        what = f" ({_WORDS[code]})" if code in _WORDS else ""
        kind = _Kind(code, before + 1, now, f"Xid {code}{what} {when}")
        others = (kind for kind in self._kinds if kind.code != code)
        self._kinds = (kind, *others)[:MAX_KINDS]

    def words(self, now: float) -> tuple[str, ...]:
        """What has happened, the last first; empty when nothing is known."""
        return tuple(kind.words for kind in self._recent(now))

    def has_failed(self, now: float) -> bool:
        return any(kind.code in FAILURES for kind in self._recent(now))

    def _recent(self, now: float) -> tuple[_Kind, ...]:
        return tuple(kind for kind in self._kinds if now - kind.last_at < FADE_SECONDS)


class Listener:
    """Hears of the GPUs that NVML has open; for the thread that opens and closes it."""

    def __init__(self) -> None:
        self._events: EventSet | None = None
        self._heard: dict[int, Xids] = {}

    def look(self, gpus: Iterable[tuple[Handle, Xids]], now: float) -> None:
        """Hands on what has happened since the last look; of a new GPU, what happens from now on.

        One whose errors the driver does not tell is not asked for them again.
        """
        try:
            events = self._events = self._events or EventSet()
            for handle, xids in gpus:
                if (key := address(handle.pointer)) not in self._heard:
                    self._heard[key] = xids
                    events.register(handle.pointer)
            for _ in range(MAX_EVENTS):
                event = events.next()
                if event is None:
                    return
                if (heard := self._heard.get(event.address)) is not None:
                    heard.add(event.xid, now)
        except NvmlError:
            return

    def end(self, free: bool) -> None:
        """Before NVML is closed or opened anew; `free`: no thread hangs in a call."""
        if free and self._events is not None:
            self._events.free()
        self._events = None
        self._heard = {}
