"""Which processes are on a device, by NVML's lists of them, and their shares of its time."""

import operator
from collections.abc import Collection, Iterable
from typing import Any, Literal, NamedTuple

from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.nvml_errors import NO_PERMISSION, ImplausibleAnswer, NvmlError
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries
from gpu_monitor.collector.gpu.readings import Use, UseType
from gpu_monitor.collector.gpu.rhythm import Rhythm

NO_SLICE_PERMISSION = (
    "no permission to read MIG slices: check the permissions of /dev/nvidia-caps/*, and"
    " DeviceAllow=char-nvidia-caps of the service"
)
HIDDEN_PID = 0
"""The driver's pid for a process of another pid namespace."""
SM_SAMPLE_SECONDS = 2.0
"""How long a sample of a process's share counts: the driver takes one a second at most.

After as long without any sample of a GPU that works, its shares are not known."""
WORKING_PERCENT = 5
"""Utilization of a GPU from which on some process on it must have a share."""


OTHER_LISTS_SECONDS = 5.0
"""How old the lists of graphics processes and of clients of MPS may be."""


class ListedProcess(NamedTuple):
    """An entry of one list; `instance` is the GPU instance, None on a GPU that is not divided.

    `mps` is set in the list of the clients of MPS.
    """

    pid: int
    type: UseType
    memory_bytes: int | None
    instance: int | None
    mps: Literal["client"] | None = None


class ProcessLists:
    """One device's three lists of processes: compute, clients of MPS, graphics.

    The first is queried each time; the others every 5 s and whenever a process has come to the
    first or left it, because jobs are compute processes.
    """

    def __init__(self, handle: Handle, queries: Queries) -> None:
        self._queries = queries
        self._lists: tuple[tuple[Any, UseType, Literal["client"] | None], ...] = (
            (handle.compute_processes, "C", None),
            (handle.mps_processes, "C", "client"),
            (handle.graphics_processes, "G", None),
        )
        self._others_due = Rhythm(OTHER_LISTS_SECONDS)
        self._answers: list[Any] = [None] * len(self._lists)
        self._entries: list[ListedProcess] = []

    def query(self, now: float) -> list[ListedProcess]:
        """The entries of all lists; `now` in monotonic seconds.

        The identical list as long as no process came, went or changed its memory, so that `is`
        detects a change.
        """
        compute, *others = self._answers
        (first, _, _), *rest = self._lists
        found = self._queries.query(first)
        is_due = self._others_due.is_due(now)
        if is_due or (found is not compute and _pids(found) != _pids(compute)):
            others = [self._queries.query(call) for call, _, _ in rest]
        answers = [found, *others]
        if not all(map(operator.is_, answers, self._answers)):
            self._answers = answers
            self._entries = [
                ListedProcess(pid, type_, size, instance, mps)
                for (_, type_, mps), answer in zip(self._lists, answers, strict=True)
                for pid, size, instance in answer or ()
            ]
        return self._entries

    def failure(self, is_divided: bool) -> str | None:
        """Why the compute processes could not be listed, or a list made no sense, in words.

        `is_divided`: this is a MIG slice, or a GPU that has some.
        """
        failures = [self._queries.failures.get(call.__name__) for call, _, _ in self._lists]
        for failure in failures:
            if isinstance(failure, ImplausibleAnswer):
                return str(failure)
        first = failures[0]
        if first is None:
            return None
        return slice_failure(first) if is_divided else str(first)


def slice_failure(failure: NvmlError) -> str:
    """Why something about MIG slices cannot be read, in words."""
    return NO_SLICE_PERMISSION if failure.code == NO_PERMISSION else str(failure)


def _pids(rows: list[tuple[Any, ...]] | None) -> list[int]:
    """The pids of one list; none where it could not be read."""
    return [row[0] for row in rows or ()]


def merge_by_pid(entries: Iterable[ListedProcess], total: int | None = None) -> tuple[Use, ...]:
    """One use per pid: a process with compute and graphics is `C+G`, with the larger memory.

    Memory beyond `total` bytes is not known. Processes listed with pid 0 are hidden from us: there
    may be several, and they are not joined.
    """
    hidden: list[Use] = []
    uses: dict[int, Use] = {}
    for entry in entries:
        type_, size = entry.type, plausible.process_bytes(entry.memory_bytes, total)
        if entry.pid == HIDDEN_PID:
            hidden.append(Use(entry.pid, type_, size, mps=entry.mps))
            continue
        before, mps = uses.get(entry.pid), entry.mps
        if before is not None:
            type_ = type_ if type_ == before.type else "C+G"
            mps = mps or before.mps
            size = max((s for s in (size, before.memory_bytes) if s is not None), default=None)
        uses[entry.pid] = Use(entry.pid, type_, size, mps=mps)
    return (*hidden, *uses.values())


class SmShares:
    """Each process's share of a GPU's time, from answers that hold only the samples since the one
    before; pure.

    The driver samples processes that did something: one without a recent sample had a share of 0,
    which is not the same as unknown. The first answer holds the past, up to minutes of it; only
    its newest time is used, to ask from there on.

    That time may be ahead of all that follow: a sample was stamped wrongly, or the driver's clock
    was set back. Then a GPU that works has no new samples. From there on the driver is asked for
    all that it keeps, and a sample is new that was not in the answer before, until the newest one
    has the latest time again.
    """

    def __init__(self) -> None:
        self.since = 0
        """The time of the newest sample, in the driver's microseconds: where to ask from next."""
        self._answers = 0
        self._newest: dict[int, tuple[int | None, float]] = {}
        self._sampled_at: float | None = None
        self._is_silent = False
        self._past: set[tuple[int, int]] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the past is behind us: the next answer will hold what has happened since."""
        return self._answers > 0

    def ingest(
        self, samples: Collection[tuple[int, int, int]], now: float, is_working: bool = False
    ) -> None:
        """One answer: samples of (pid, the driver's time, percent); `now` in monotonic seconds.

        `is_working` is whether the GPU is in use at all.
        """
        self._answers += 1
        self._newest = {
            pid: share for pid, share in self._newest.items() if now - share[1] <= SM_SAMPLE_SECONDS
        }
        fresh = sorted(self._fresh(samples), key=lambda sample: sample[1])
        if fresh and self._answers > 1:
            self._newest |= {pid: (plausible.percent(share), now) for pid, _, share in fresh}
        if fresh or not is_working or self._sampled_at is None:
            self._sampled_at = now
        self._is_silent = now - self._sampled_at > SM_SAMPLE_SECONDS
        if self._is_silent and self._past is None:
            self.since, self._answers, self._past = 0, 0, set()

    def _fresh(self, samples: Collection[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """The samples that are new; moves `since` on where their times can be trusted."""
        latest = max((at for _, at, _ in samples), default=0)
        if self._past is None:
            self.since = max(self.since, latest)
            return list(samples)
        fresh = [sample for sample in samples if sample[:2] not in self._past]
        self._past = {sample[:2] for sample in samples}
        if self._answers > 1 and any(at == latest for _, at, _ in fresh):
            self.since, self._past = latest, None
        return fresh

    def percent(self, pid: int) -> int | None:
        """The process's share; None while only the past is known, and where it cannot be true."""
        if self._answers < 2 or self._is_silent or pid == HIDDEN_PID:
            return None
        return self._newest.get(pid, (0, 0.0))[0]

    def add_to(self, uses: tuple[Use, ...]) -> tuple[Use, ...]:
        """The same uses with each process's share."""
        return tuple(
            Use(use.pid, use.type, use.memory_bytes, self.percent(use.pid), use.mps) for use in uses
        )
