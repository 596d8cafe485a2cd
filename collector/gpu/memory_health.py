"""What a GPU says of its own memory's health, asked once a minute, in words."""

import time
from collections.abc import Callable, Iterator

from gpu_monitor.collector.gpu.nvml import Handle
from gpu_monitor.collector.gpu.queries import Questions

LOOK_SECONDS = 60.0
FADE_SECONDS = 86400.0
"""So long after its memory last lost data a GPU is no longer in need of attention for that."""


class Health:
    """Follows one GPU; what it does not answer, as a card without ECC, is not asked again.

    A word goes when NVML takes its cause back, which a reset or a new load of the driver does but
    for a failed remapping. Of lost data NVML only has a count since the driver was loaded: that is
    told for a day after the count rose, or was found. `words` is what is wrong, with what helps;
    empty when nothing is known to be. `clock` is in unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.words: tuple[str, ...] = ()
        self.failed = False
        self._looked_at: float | None = None
        self._errors: int | None = None
        self._rose_at = 0.0
        self._rose = ""

    def look(self, questions: Questions, handle: Handle, now: float) -> None:
        """Ask again if it is time to; `now` is monotonic."""
        if self._looked_at is None or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            pending, self.failed = _remapped_rows(questions, handle)
            lasting = _lasting(questions, handle, pending, self.failed)
            self.words = (*lasting, *self._losses(questions, handle, now))

    def _losses(self, questions: Questions, handle: Handle, now: float) -> Iterator[str]:
        errors = questions.ask("ecc", "nvmlDeviceGetTotalEccErrors", handle.uncorrected_errors)
        if errors is None:
            return
        if errors != self._errors:
            self._rose = "it is not known when" if self._errors is None else self._noticed()
            self._rose_at = now
            self._errors = errors
        if errors and now - self._rose_at < FADE_SECONDS:
            times = "once" if errors == 1 else f"{errors} times"
            yield (
                f"its memory lost data {times} since the driver was loaded, {self._rose} "
                "(uncorrected ECC errors)"
            )

    def _noticed(self) -> str:
        return time.strftime("last noticed at %Y-%m-%d %H:%M UTC", time.gmtime(self._clock()))


def _remapped_rows(questions: Questions, handle: Handle) -> tuple[bool, bool]:
    """Whether a row waits to be remapped, and whether one could not be."""
    name = "nvmlDeviceGetRemappedRows"
    return questions.ask("remapped", name, handle.remapped_rows) or (False, False)


def _lasting(questions: Questions, handle: Handle, pending: bool, failed: bool) -> Iterator[str]:
    if failed:
        yield "a faulty row of its memory could not be remapped: the card needs replacement"
    if pending:
        yield "a faulty row of its memory waits to be remapped: reset the GPU"
    name = "nvmlDeviceGetRetiredPagesPendingStatus"
    if questions.ask("retired", name, handle.retirement_pending):
        yield "a faulty page of its memory waits to be retired: reset the GPU"
