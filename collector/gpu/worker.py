"""A thread for NVML calls, which reports a call that it is stuck in."""

import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.slots import Slot

log = logging.getLogger(__name__)

STUCK_CALL_SECONDS = 1.0
"""A call that takes longer is reported as stuck."""


class Worker:
    """A daemon thread that does one job at a time; `idle` is set while it has none.

    During a job `trace` names the NVML call that is running, `slot` is the GPU it is about (None
    for the driver as a whole) and `since` is when that began, in monotonic seconds. A call that
    takes longer than `patience` (seconds) is reported as stuck.
    """

    def __init__(self, name: str, trace: Trace, patience: float = STUCK_CALL_SECONDS) -> None:
        self._patience = patience
        self.idle = threading.Event()
        self.idle.set()
        self.trace = trace
        self.slot: Slot | None = None
        self.since = 0.0
        self._stuck_at = (0.0, "")
        self._fault = ""
        self._jobs: SimpleQueue[Callable[[Worker], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def post(self, job: "Callable[[Worker], None]") -> None:
        """Start `job`; the worker must be idle."""
        self.idle.clear()
        self._jobs.put(job)

    def end(self) -> None:
        """End the thread once it is idle."""
        self._jobs.put(None)

    def begin(self, slot: Slot | None, trace: Trace, now: float) -> None:
        """Called by a job: from now on the worker is busy with `slot`."""
        self.since, self.trace, self.slot = now, trace, slot

    def stuck(self, now: Moment) -> str | None:
        """Which call it is stuck in and since when; None while it is not."""
        since, slot = self.since, self.slot
        is_waiting = self.idle.is_set() or not self.trace.function
        if is_waiting or now.monotonic - since < self._patience:
            return None
        if self._stuck_at[0] != since:  # formatted once: the clocks' jitter changes the second
            at = time.gmtime(now.wall - (now.monotonic - since))
            self._stuck_at = (since, time.strftime("%H:%M:%S UTC", at))
        of_gpu = "" if slot is None else f" of GPU {slot.identity.number}"
        return f"NVML stuck in {self.trace}{of_gpu} since {self._stuck_at[1]}"

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job(self)
            except Exception as error:  # a fault of ours costs this reading, not all later ones
                if repr(error) != self._fault:
                    self._fault = repr(error)
                    log.exception("a GPU could not be read")
            self.idle.set()
