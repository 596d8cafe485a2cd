"""All GPUs read within a time limit: NVML is called in threads, and calls that hang are named."""

import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.driver_findings import NOT_READ_YET, StuckCall, driver_reading
from gpu_monitor.collector.gpu.openings import CARRIED_SECONDS
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading
from gpu_monitor.collector.gpu.slots import Slot
from gpu_monitor.collector.gpu.worker import Worker
from gpu_monitor.collector.source_guard import SourceGuard

SLOW_GPU_SECONDS = 0.05
"""A GPU that takes longer is read by a worker of its own, so that it does not delay the others."""
SLOW_FIRST_READING_SECONDS = 0.5
"""The same for a GPU's first reading, which takes more calls."""
QUICK_READINGS = 10
"""After this many quick readings in succession a GPU goes back to the shared worker."""
FIRST_REPLACE_SECONDS = 0.5
LAST_REPLACE_SECONDS = 300.0


class Watchdog:
    """Reads all GPUs within a time limit; for one thread, that of the collector's loop.

    A shared worker reads the GPUs in series. When it is stuck in one, it becomes that GPU's own
    worker and a new one goes on with the others: a hang costs its GPU only, and there is never
    more than one thread per GPU and one. A second replacement in succession waits 0.5 s, the next
    twice as long, up to 5 minutes: when the driver hangs as a whole, each new worker is lost.

    `patience` (seconds) is how long `collect` waits for readings, `timeout` how old a reading may
    be and still be shown, `slow` how long a GPU may take on the shared worker.
    """

    def __init__(
        self,
        driver: Driver,
        patience: float,
        timeout: float,
        slow: float = SLOW_GPU_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        guard: SourceGuard | None = None,
    ) -> None:
        self._guard = guard or SourceGuard()
        self._slow = slow
        self._driver = driver
        self._patience = patience
        self._timeout = timeout
        self._carried_seconds = max(timeout, CARRIED_SECONDS)
        self._clock = clock
        self._lock = threading.Lock()
        self._shared = Worker("nvml", driver.trace)
        self._opening = False
        self._own: dict[str, Worker] = {}
        self._took: dict[str, float] = {}
        self._quick: dict[str, int] = {}
        self._replace_at = self._replace_seconds = 0.0

    def collect(self, begun: Moment) -> DriverReading:
        """The newest reading of each GPU that is not too old, else why there is none.

        Takes `patience` at most, however long the driver does.
        """
        self._assign_workers()
        self._replace_if_stuck(begun.monotonic)  # in a call of an earlier sample
        self._start(begun.monotonic)
        give_up_at = begun.monotonic + self._patience
        while not self._shared.idle.wait(self._slow) and self._clock() < give_up_at:
            self._replace_if_stuck(begun.monotonic)
        return self._driver_reading(begun)

    def close(self) -> None:
        """End the threads that do not hang; NVML is closed if none does."""
        self._driver.probe.close()
        if self._shared.idle.is_set() and self._others_idle():
            self._shared.post(lambda _: self._driver.close())
            self._shared.idle.wait(self._patience)
        for worker in (self._shared, *self._own.values()):
            worker.end()

    def _others_idle(self) -> bool:
        own_idle = all(worker.idle.is_set() for worker in self._own.values())
        return own_idle and self._driver.openings.is_idle()

    def _assign_workers(self) -> None:
        """A slow GPU gets a worker of its own; a quick one goes back to the shared worker."""
        for key, seconds in list(self._took.items()):
            del self._took[key]
            self._quick[key] = self._quick.get(key, 0) + 1 if seconds <= self._slow else 0
            worker = self._own.get(key)
            if worker is None and seconds > self._slow:
                self._own[key] = Worker(f"nvml-{key}", self._driver.trace)
            elif worker is not None and self._quick[key] >= QUICK_READINGS and worker.idle.is_set():
                self._own.pop(key).end()

    def _start(self, begun: float) -> None:
        if self._shared.idle.is_set():
            self._opening = opening = self._driver.is_due(begun)
            is_calm = self._others_idle()
            self._shared.post(lambda worker: self._round(worker, begun, opening, is_calm))
        if self._opening:  # no call may begin while NVML is being closed and opened
            return
        for slot in self._driver.slots:
            worker = self._own.get(slot.key)
            if worker is not None and worker.idle.is_set():
                worker.post(functools.partial(self._refresh, slot=slot))

    def _round(self, worker: Worker, begun: float, opening: bool, is_calm: bool) -> None:
        worker.begin(None, self._driver.trace, self._clock())
        if opening:
            self._guard.attempt("the driver", lambda: self._driver.open(begun, is_calm), None)
        else:
            check = self._driver.check_for_changes
            self._guard.attempt("the driver's GPUs and events", lambda: check(begun), None)
        self._refresh_shared(worker, begun)

    def _refresh_shared(self, worker: Worker, begun: float) -> None:
        """Read the GPUs without a worker of their own that were not read since `begun`."""
        for slot in self._driver.slots:
            with self._lock:  # so that no GPU is ever read by two workers
                if self._shared is not worker:
                    return
                if slot.key in self._own or (slot.latest and slot.latest.at >= begun):
                    continue
                worker.begin(slot, slot.trace, self._clock())
            self._refresh(worker, slot)
        self._replace_at = self._replace_seconds = 0.0

    def _refresh(self, worker: Worker, slot: Slot) -> None:
        worker.begin(slot, slot.trace, self._clock())
        first = slot.latest is None
        self._guard.attempt(f"GPU {slot.identity.number}", lambda: slot.refresh(worker.since), None)
        if not first:
            self._took[slot.key] = self._clock() - worker.since

    def _replace_if_stuck(self, begun: float) -> None:
        with self._lock:
            worker, now = self._shared, self._clock()
            slot = worker.slot
            if worker.idle.is_set() or slot is None or now < self._replace_at:
                return
            if now - worker.since < (self._slow if slot.latest else SLOW_FIRST_READING_SECONDS):
                return
            self._own[slot.key] = worker
            self._quick[slot.key] = 0
            self._shared = Worker("nvml", self._driver.trace)
        self._replace_at = now + self._replace_seconds
        self._replace_seconds = min(
            max(2 * self._replace_seconds, FIRST_REPLACE_SECONDS), LAST_REPLACE_SECONDS
        )
        self._shared.post(lambda worker: self._refresh_shared(worker, begun))

    def _driver_reading(self, now: Moment) -> DriverReading:
        readings = [(slot, self._reading(slot, now)) for slot in self._driver.slots]
        stuck, outdated = list(self._stuck(now)), self._outdated(readings, now)
        return driver_reading(self._driver, readings, stuck, outdated, now.monotonic)

    def _reading(self, slot: Slot, now: Moment) -> GpuReading:
        absent, latest, carried = slot.absent, slot.latest, slot.carried
        if absent is not None:
            return absent
        if latest is not None and now.monotonic - latest.at <= self._timeout:
            return latest.reading
        if carried is not None and now.monotonic - carried.at <= self._carried_seconds:
            return carried.reading
        return GpuReading(slot.identity, "error", self._why_unread(slot, now))

    def _why_unread(self, slot: Slot, now: Moment) -> str:
        """Its own call hangs, or one before it."""
        own = self._own.get(slot.key)
        text = own and own.stuck(now)
        return text or next((call.text for call in self._stuck(now)), NOT_READ_YET)

    def _stuck(self, now: Moment) -> Iterator[StuckCall]:
        for worker in (self._shared, *self._own.values(), *self._driver.openings.workers):
            slot, since = worker.slot, worker.since
            has_read = slot is not None and slot.latest is not None and slot.latest.at >= since
            if not has_read and (stuck := worker.stuck(now)) is not None:
                yield StuckCall(slot, stuck)

    def _outdated(self, readings: Sequence[tuple[Slot, GpuReading]], now: Moment) -> list[Slot]:
        """The GPUs that show a reading from before NVML was closed, older than others may be."""
        return [
            slot
            for slot, reading in readings
            if slot.carried is not None
            and reading is slot.carried.reading
            and now.monotonic - slot.carried.at > self._timeout
        ]
