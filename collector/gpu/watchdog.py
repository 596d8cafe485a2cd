"""NVML behind a deadline: its calls run in threads, and what hangs is named, not waited for."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import GpuReading, Picture
from gpu_monitor.collector.gpu.slots import Slot

log = logging.getLogger(__name__)

SLOW_SECONDS = 0.05
"""A GPU that takes longer is read by a worker of its own, so that it delays no other."""
FIRST_SLOW_SECONDS = 0.5
"""The first reading of a GPU also asks what it is."""
QUICK_READINGS = 10
"""So many quick readings in succession bring a GPU back to the shared worker."""
FIRST_REPLACE_SECONDS = 0.5
LAST_REPLACE_SECONDS = 300.0
STUCK_SECONDS = 1.0
"""From then on a call is named in `problems`."""


class Worker:
    """A daemon thread that does one job at a time.

    While it is busy, `trace` names the call it is in, `slot` the GPU that call is about (None:
    the driver as a whole) and `since` when it began with that, in monotonic seconds.
    """

    def __init__(self, name: str, trace: Trace) -> None:
        self.idle = threading.Event()
        self.idle.set()
        self.trace = trace
        self.slot: Slot | None = None
        self.since = 0.0
        self._said = (0.0, "")
        self._fault = ""
        self._jobs: SimpleQueue[Callable[[Worker], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def post(self, job: "Callable[[Worker], None]") -> None:
        """Do `job`; the worker must be idle."""
        self.idle.clear()
        self._jobs.put(job)

    def end(self) -> None:
        """End the thread once it is idle."""
        self._jobs.put(None)

    def begin(self, slot: Slot | None, trace: Trace, now: float) -> None:
        """Say what the worker does from now on."""
        self.since, self.trace, self.slot = now, trace, slot

    def stuck(self, now: Moment) -> str | None:
        """What it has been stuck in since when; None while it is not."""
        since, slot = self.since, self.slot
        if self.idle.is_set() or now.monotonic - since < STUCK_SECONDS:
            return None
        if self._said[0] != since:  # told once, for the clocks' jitter would tell another second
            at = time.gmtime(now.wall - (now.monotonic - since))
            self._said = (since, time.strftime("%H:%M:%S UTC", at))
        of_gpu = "" if slot is None else f" of GPU {slot.identity.number}"
        return f"NVML stuck in {self.trace.calling}{of_gpu} since {self._said[1]}"

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job(self)
            except Exception as error:  # a fault of ours costs this reading, not all later ones
                if repr(error) != self._fault:
                    self._fault = repr(error)
                    log.exception("a GPU could not be read")
            self.idle.set()


class Watch:
    """Reads all GPUs within a bounded moment; used by one thread, the sampler's.

    A shared worker reads the GPUs in series. When it is stuck in one, it becomes that GPU's own
    worker and a new one goes on with the others: a hang costs its GPU only, and there are never
    more threads than GPUs and one. A second replacement in succession waits 0.5 s, the next
    twice as long, up to 5 minutes: when the driver hangs as a whole, each new worker is lost.

    `patience` (seconds) is how long `read` waits for readings, `timeout` how old a reading may
    be to be shown, `slow` what a GPU may take on the shared worker.
    """

    def __init__(
        self,
        driver: Driver,
        patience: float,
        timeout: float,
        slow: float = SLOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slow = slow
        self._driver = driver
        self._patience = patience
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._shared = Worker("nvml", driver.trace)
        self._opening = False
        self._own: dict[str, Worker] = {}
        self._took: dict[str, float] = {}
        self._quick: dict[str, int] = {}
        self._replace_at = self._replace_seconds = 0.0

    def read(self, begun: Moment) -> Picture:
        """The newest reading of each GPU that is not too old, else why there is none.

        Takes `patience` at most, however long the driver does.
        """
        self._assign()
        self._start(begun.monotonic)
        give_up_at = begun.monotonic + self._patience
        while not self._shared.idle.wait(self._slow) and self._clock() < give_up_at:
            self._replace_stuck(begun.monotonic)
        return self._picture(begun)

    def close(self) -> None:
        """End the threads that do not hang; NVML is closed if none does."""
        if self._shared.idle.is_set() and self._others_idle():
            self._shared.post(lambda _: self._driver.close())
            self._shared.idle.wait(self._patience)
        for worker in (self._shared, *self._own.values()):
            worker.end()

    def _others_idle(self) -> bool:
        return all(worker.idle.is_set() for worker in self._own.values())

    def _assign(self) -> None:
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
            self._opening = opening = self._driver.due(begun)
            calm = self._others_idle()
            self._shared.post(lambda worker: self._round(worker, begun, opening, calm))
        if self._opening:  # no call may begin while NVML is being closed and opened
            return
        for slot in self._driver.slots:
            worker = self._own.get(slot.key)
            if worker is not None and worker.idle.is_set():
                worker.post(functools.partial(self._read, slot=slot))

    def _round(self, worker: Worker, begun: float, opening: bool, calm: bool) -> None:
        worker.begin(None, self._driver.trace, self._clock())
        if opening:
            self._driver.open(begun, calm)
        else:
            self._driver.count(begun)
        self._read_shared(worker, begun)

    def _read_shared(self, worker: Worker, begun: float) -> None:
        """Read what has no worker of its own and was not read since the sample was `begun`."""
        for slot in self._driver.slots:
            with self._lock:  # so that no GPU is ever read by two workers
                if self._shared is not worker:
                    return
                if slot.key in self._own or (slot.latest and slot.latest.at >= begun):
                    continue
                worker.begin(slot, slot.trace, self._clock())
            self._read(worker, slot)
        self._replace_at = self._replace_seconds = 0.0

    def _read(self, worker: Worker, slot: Slot) -> None:
        worker.begin(slot, slot.trace, self._clock())
        first = slot.latest is None
        slot.read(worker.since)
        if not first:
            self._took[slot.key] = self._clock() - worker.since

    def _replace_stuck(self, begun: float) -> None:
        with self._lock:
            worker, now = self._shared, self._clock()
            slot = worker.slot
            if worker.idle.is_set() or slot is None or now < self._replace_at:
                return
            if now - worker.since < (self._slow if slot.latest else FIRST_SLOW_SECONDS):
                return
            self._own[slot.key] = worker
            self._quick[slot.key] = 0
            self._shared = Worker("nvml", self._driver.trace)
        self._replace_at = now + self._replace_seconds
        self._replace_seconds = min(
            max(2 * self._replace_seconds, FIRST_REPLACE_SECONDS), LAST_REPLACE_SECONDS
        )
        self._shared.post(lambda worker: self._read_shared(worker, begun))

    def _picture(self, now: Moment) -> Picture:
        driver, slots = self._driver, self._driver.slots
        gpus = tuple(self._reading_with_health(slot, now) for slot in slots)
        return Picture(
            gpus=gpus,
            problems=tuple(self._problems(gpus, now)),
            driver_version=driver.driver_version,
            cuda_version=driver.cuda_version,
        )

    def _reading_with_health(self, slot: Slot, now: Moment) -> GpuReading:
        reading, reasons = self._reading(slot, now), slot.health_reasons(now.monotonic)
        if not reasons:
            return reading
        return reading._replace(health_reasons=reasons, failed=slot.has_failed(now.monotonic))

    def _reading(self, slot: Slot, now: Moment) -> GpuReading:
        absent, latest = slot.absent, slot.latest
        if absent is not None:
            return absent
        if latest is not None and now.monotonic - latest.at <= self._timeout:
            return latest.reading
        return GpuReading(slot.identity, "error", self._why(slot, now))

    def _why(self, slot: Slot, now: Moment) -> str:
        """Why there is no reading of a GPU: its own call hangs, or another's before it."""
        own = self._own.get(slot.key)
        return (own and own.stuck(now)) or next(self._stuck(now), "not read")

    def _stuck(self, now: Moment) -> Iterator[str]:
        for worker in (self._shared, *self._own.values()):
            if (stuck := worker.stuck(now)) is not None:
                yield stuck

    def _problems(self, gpus: tuple[GpuReading, ...], now: Moment) -> Iterator[str]:
        if self._driver.problem is not None:
            yield self._driver.problem
        else:
            yield from self._driver.bus.problems
        yield from self._stuck(now)
        unread: dict[str, list[str]] = {}
        for gpu in gpus:
            if gpu.uses_unread is not None:
                unread.setdefault(gpu.uses_unread, []).append(str(gpu.identity.number))
            for reason in gpu.health_reasons:
                yield f"GPU {gpu.identity.number}: {reason}"
        for reason, indices in unread.items():
            yield f"processes of GPU {', '.join(indices)} not readable: {reason}"
