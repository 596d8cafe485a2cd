"""What the collector itself costs the host."""

import mmap
import time

from gpu_monitor.collector.host.procfs import read_file
from gpu_monitor.wire import __version__
from gpu_monitor.wire.document import Scalars


class OwnCost:
    """The processor time and memory of this process."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None

    def sample(self, now: float, sample_seconds: float) -> Scalars:
        """The scalars of `collector`; `now` in monotonic seconds.

        `cpu_percent` is of one core since the sample before: the first one has none.
        """
        resident = int(read_file("/proc/self/statm", 256).split()[1]) * mmap.PAGESIZE
        cost: Scalars = {
            "version": __version__,
            "memory_mib": resident >> 20,
            "sample_seconds": round(sample_seconds, 4),
        }
        used = time.process_time()
        if self._before is not None and now > self._before[0]:
            share = (used - self._before[1]) / (now - self._before[0])
            cost["cpu_percent"] = round(100 * share, 2)
        self._before = (now, used)
        return cost
