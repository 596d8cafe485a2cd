"""GPUs being opened, each in its own time: one that takes long does not hold up the others."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.nvml_errors import (
    NOT_FOUND,
    InternalError,
    NvmlError,
    OpeningStuck,
)
from gpu_monitor.collector.gpu.pci import PciPower
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.slot_order import Found
from gpu_monitor.collector.gpu.worker import Worker

OPENING_PATIENCE_SECONDS = 1.0
"""After this long without a GPU that was opened, the others are no longer opened in series."""
SLOW_OPENING_SECONDS = 5.0
"""An opening that takes longer is reported: without persistence mode 2 s are usual."""
CARRIED_SECONDS = 60.0
"""How old the last reading of a GPU may be that is being opened again, and how long its opening may
take: without persistence mode, the driver opens one GPU after the other, in 2 s each."""


class Opening:
    """One GPU that is being opened: the one at an index of NVML, or at a place on the bus.

    `result` is the GPU or why it could not be opened; None while that is not known.
    """

    def __init__(self, target: int | str, open_device: Callable[[Trace], Device]) -> None:
        self.target = target
        self.trace = Trace()
        self.trace.subject = f"GPU {target}"
        self.result: Device | NvmlError | None = None
        self._open_device = open_device

    def run(self) -> None:
        """Open it; blocks for as long as the driver does."""
        try:
            device = self._open_device(self.trace)
        except NvmlError as error:
            self.result = error.with_traceback(None)
        except Exception as error:
            self.result = InternalError(self.trace.subject, error)
        else:
            device.handle.trace = Trace()  # another thread than this one may read it
            self.result = device

    @property
    def is_absent(self) -> bool:
        """Whether NVML has no GPU at this place."""
        has_place = isinstance(self.target, str)
        return has_place and isinstance(self.result, NvmlError) and self.result.code == NOT_FOUND

    @property
    def outcome(self) -> Device | NvmlError:
        """The result, or that there is none yet."""
        return self.result or OpeningStuck(self.trace.function)


class Openings:
    """Opens GPUs in one thread in series, and in one thread each once that takes long.

    For one thread. An opening that hangs is kept when the GPUs are opened the next time, so that
    there is never more than one thread for a GPU. `workers` are those threads.
    """

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self._openings: list[Opening] = []
        self._wanted: list[int | str | PciPower] = []
        self._begun = 0.0
        self._queue: deque[Opening] = deque()
        self._progress = threading.Event()

    @property
    def done(self) -> int:
        """How many GPUs were opened, or could not be."""
        return sum(each.result is not None for each in self._openings)

    def is_idle(self) -> bool:
        """Whether no thread is in a call."""
        return all(worker.idle.is_set() for worker in self.workers)

    def is_busy(self, now: float) -> bool:
        """Whether GPUs are being opened, and not for so long that they are given up."""
        return self.done < len(self._openings) and now - self._begun < CARRIED_SECONDS

    def open_all(self, wanted: Sequence[Opening | PciPower], now: float) -> None:
        """Open these in their order on the bus, and wait for as long as that goes on quickly.

        Those that are asleep are only kept in mind. `now` is monotonic.
        """
        running = {each.target: each for each in self._openings if each.result is None}
        openings = [each for each in wanted if isinstance(each, Opening)]
        self._openings = [running.get(each.target, each) for each in openings]
        self._wanted = [each.target if isinstance(each, Opening) else each for each in wanted]
        self._begun = now
        self.workers = [worker for worker in self.workers if not worker.idle.is_set()]
        self._queue.extend(each for each in openings if each.target not in running)
        if self._queue:
            self._start_worker()
        self._await_results()
        for _ in range(len(self._queue)):
            self._start_worker()

    def opened(self) -> list[Device]:
        """The GPUs opened so far."""
        results = (each.result for each in self._openings)
        return [result for result in results if isinstance(result, Device)]

    def found(self) -> list[Found]:
        """All GPUs. One that is not opened is given one of the remaining indices, in the order of
        the bus; one that NVML does not have, with others asleep, is left out."""
        outcomes = {each.target: each for each in self._openings}
        taken = {device.identity.number for device in self.opened()}
        left = (index for index in itertools.count() if index not in taken)
        seen = [each if isinstance(each, PciPower) else outcomes[each] for each in self._wanted]
        found = [
            each if isinstance(each, PciPower) else each.outcome
            for each in seen
            if isinstance(each, PciPower) or not each.is_absent
        ]
        return [each if isinstance(each, Device) else (next(left), each) for each in found]

    def _await_results(self) -> None:
        while self.done < len(self._openings):
            self._progress.clear()
            is_done = self.done == len(self._openings)
            if not is_done and not self._progress.wait(OPENING_PATIENCE_SECONDS):
                return

    def _start_worker(self) -> None:
        worker = Worker("nvml-open", Trace(), SLOW_OPENING_SECONDS)
        self.workers.append(worker)
        ahead = time.monotonic() - self._begun
        worker.post(lambda worker: self._run_queue(worker, ahead))
        worker.end()

    def _run_queue(self, worker: Worker, ahead: float) -> None:
        """`ahead` is how far this machine's clock is ahead of the one that `open_all` was given."""
        while self._queue:
            try:
                opening = self._queue.popleft()
            except IndexError:  # another thread was quicker
                return
            worker.begin(None, opening.trace, time.monotonic() - ahead)
            opening.run()
            self._progress.set()
