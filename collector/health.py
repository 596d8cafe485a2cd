"""What a GPU says of its own memory's health, asked once a minute, in words."""

from collections.abc import Iterator

from collector.nvml import Handle
from collector.questions import Questions

LOOK_SECONDS = 60.0


class Health:
    """Follows one GPU; what it does not answer, as a card without ECC, is not asked again.

    Nothing is latched: each word goes when NVML takes its cause back, which a reset or a new
    load of the driver does but for a failed remapping.
    """

    def __init__(self) -> None:
        self._words: tuple[str, ...] = ()
        self._looked_at: float | None = None

    def words(self, questions: Questions, handle: Handle, now: float) -> tuple[str, ...]:
        """What is wrong, with what helps; empty when nothing is known to be. `now` is monotonic."""
        if self._looked_at is None or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._words = tuple(_words(questions, handle))
        return self._words


def _words(questions: Questions, handle: Handle) -> Iterator[str]:
    ask = questions.ask
    name = "nvmlDeviceGetRemappedRows"
    pending, failed = ask("remapped", name, handle.remapped_rows) or (False, False)
    if failed:
        yield "a faulty row of its memory could not be remapped: the card needs replacement"
    if pending:
        yield "a faulty row of its memory waits to be remapped: reset the GPU"
    name = "nvmlDeviceGetRetiredPagesPendingStatus"
    if ask("retired", name, handle.retirement_pending):
        yield "a faulty page of its memory waits to be retired: reset the GPU"
    if errors := ask("ecc", "nvmlDeviceGetTotalEccErrors", handle.uncorrected_errors):
        times = "once" if errors == 1 else f"{errors} times"
        yield f"its memory lost data {times} since the driver was loaded (uncorrected ECC errors)"
