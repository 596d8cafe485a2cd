"""How much of the processor and of the host's memory processes use, read every 5 s."""

import mmap
from typing import NamedTuple

from gpu_monitor.collector.host.procfs import read_file, stat_fields

PROCESS_LOAD_SECONDS = 5.0
_TICKS_PER_SECOND = 100
"""USER_HZ, in which the kernel counts processor time on every platform."""
_USER_TICKS, _SYSTEM_TICKS, _START_TICKS, _RESIDENT_PAGES = 11, 12, 19, 21
"""Fields 14, 15, 22 and 24 of /proc/PID/stat, counted from its third.

The last one is the same sum of counters as the second field of statm, which would be another file.
"""


class ProcessLoad(NamedTuple):
    """What one process uses; None where it is not known.

    `cpu_percent` is of one core, over the last 5 s or so, by all threads of the process: 612 is six
    cores. `memory_bytes` is resident.
    """

    cpu_percent: int | None = None
    memory_bytes: int | None = None


NO_LOAD = ProcessLoad()


class _Counted(NamedTuple):
    """A process's start and the processor time it had used by `at`, both in the kernel's ticks."""

    started: int
    used: int
    at: float
    load: ProcessLoad


class ProcessLoads:
    """The load of each process asked for; `proc` is where the kernel's folder is mounted."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._counted: dict[int, _Counted] = {}

    def sample(self, pid: int, now: float) -> ProcessLoad:
        """The latest load; `now` in monotonic seconds.

        The processor time is known from the second reading on. Processes take turns: the first two
        readings of some are less than 5 s apart.
        """
        before = self._counted.get(pid)
        if before is not None and now - before.at < self._seconds(pid, before):
            return before.load
        try:
            started, used, pages = _read(f"{self._proc}/{pid}/stat")
        except (OSError, ValueError, IndexError):  # it has ended, or is hidden from us
            self._counted.pop(pid, None)
            return NO_LOAD
        cpu = None
        if before is not None and before.started == started:
            cpu = _percent(used - before.used, now - before.at)
        load = ProcessLoad(cpu, pages * mmap.PAGESIZE or None)
        self._counted[pid] = _Counted(started, used, now, load)
        return load

    def forget(self, pid: int) -> None:
        """Drop what is known about `pid`."""
        self._counted.pop(pid, None)

    def _seconds(self, pid: int, before: _Counted) -> float:
        """How long to wait for the next reading."""
        is_first = before.load.cpu_percent is None
        return PROCESS_LOAD_SECONDS - (pid % 4 if is_first else 0)


def _read(path: str) -> tuple[int, int, int]:
    """Start, used processor time (ticks) and resident pages; a zombie has none."""
    fields = stat_fields(read_file(path, 4096))
    used = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return int(fields[_START_TICKS]), used, int(fields[_RESIDENT_PAGES])


def _percent(ticks: int, seconds: float) -> int | None:
    """Of one core; None where the counters went back."""
    if ticks < 0 or seconds <= 0:
        return None
    return round(100 * ticks / _TICKS_PER_SECOND / seconds)
