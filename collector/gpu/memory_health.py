"""The health of a GPU by its own account, queried once a minute, as findings."""

import time
from collections.abc import Callable, Iterator

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries

MEMORY_HEALTH_SECONDS = 60.0
ECC_FADE_SECONDS = 86400.0
"""An uncorrected error needs attention for this long after the count last rose."""
_RECOVERY_WORDS = {
    1: "reset the GPU",
    2: "reboot the host",
    3: "end all programs that access other GPUs directly (peer to peer)",
    4: "end all programs that access other GPUs directly (peer to peer), then reset the GPU",
    5: "recover the IMEX domain",
    6: "reset the GPU's bus",
    7: "reboot the system",
}
"""NVML's recovery actions (nvmlDeviceGpuRecoveryAction_t); 0 is none."""


class MemoryHealth:
    """Follows one GPU's memory, over every reopening of the driver, and what the driver recommends.

    A finding clears once NVML stops reporting its cause, which takes a reset or a reload of the
    driver; a row that could not be remapped stays forever. Of uncorrected errors NVML only has a
    count since the driver was loaded, in memory and in the caches of the chip: they are reported
    for a day after that count rose or was first read.

    `findings` is empty when nothing is known to be wrong. Critical ones mean that the GPU is
    useless: its memory is beyond repair, or the driver recommends a recovery, which is
    `needs_recovery`. `clock` is in unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.findings: tuple[Finding, ...] = ()
        self.needs_recovery = False
        self._polled_at: float | None = None
        self._errors: int | None = None
        self._rose_at = 0.0
        self._rose = ""

    def poll(self, queries: Queries, handle: Handle, now: float) -> None:
        """Query NVML if a minute has passed; `now` is in monotonic seconds."""
        if self._polled_at is None or now - self._polled_at >= MEMORY_HEALTH_SECONDS:
            self._polled_at = now
            pending, failed = queries.query(handle.remapped_rows) or (False, False)
            retiring = bool(queries.query(handle.retirement_pending))
            count = plausible.errors(queries.query(handle.uncorrected_errors))
            errors = self._uncorrected_errors(count, now)
            action = queries.query(handle.recovery_action) or 0
            self.needs_recovery = action > 0
            self.findings = (
                *_recovery_findings(action),
                *_lasting_findings(pending, failed, retiring),
                *errors,
            )

    def _uncorrected_errors(self, errors: int | None, now: float) -> Iterator[Finding]:
        if errors is None:
            return
        if errors != self._errors:
            self._rose = "time unknown" if self._errors is None else self._seen_now()
            self._rose_at = now
            self._errors = errors
        if errors and now - self._rose_at < ECC_FADE_SECONDS:
            count = "1 uncorrected ECC error" if errors == 1 else f"{errors} uncorrected ECC errors"
            yield Finding("ecc", "warning", f"{count} since the driver was loaded ({self._rose})")

    def _seen_now(self) -> str:
        return time.strftime("last seen at %Y-%m-%d %H:%M UTC", time.gmtime(self._clock()))


def _recovery_findings(action: int) -> Iterator[Finding]:
    if action:
        remedy = _RECOVERY_WORDS.get(action, f"take recovery action {action}")
        yield Finding("recovery", "critical", "the driver recommends a recovery", remedy)


def _lasting_findings(pending: bool, failed: bool, retiring: bool) -> Iterator[Finding]:
    row, page, reset = "a faulty memory row", "a faulty memory page", "reset the GPU"
    if failed:
        words = f"{row} could not be remapped"
        yield Finding("row_remap", "critical", words, "replace the card", key="failed")
    if pending:
        yield Finding("row_remap", "warning", f"{row} is waiting to be remapped", reset)
    if retiring:
        yield Finding("page_retirement", "warning", f"{page} is waiting to be retired", reset)
