"""A GPU's values that are not queried for each sample, because each call has its price.

On cards whose driver runs on a processor of their own (GSP), a call takes 0.2 to 0.7 ms, during
which the caller's core is busy (DCGM#144).
"""

from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.energy import EnergyCounter
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries
from gpu_monitor.collector.gpu.rhythm import Rhythm

SLOW_READING_SECONDS = 5.0
SLOWER_READING_SECONDS = 10.0


class SlowValues:
    """The values as of their last query, as NVML gives them but for the energy; None: not known.

    Temperature, SM clock and what limits the clocks are 5 s old at most; fan, memory clock, power
    limit and energy 10 s. `stagger` (seconds) shifts them against those of other GPUs.
    """

    def __init__(self, handle: Handle, stagger: int) -> None:
        self.temperature: int | None = None
        self.throttle: int | None = None
        self.sm_clock: int | None = None
        self.fan: int | None = None
        self.memory_clock: int | None = None
        self.power_limit: int | None = None
        self.energy_joules: int | None = None
        self._energy = EnergyCounter()
        self._handle = handle
        self._slow = Rhythm(SLOW_READING_SECONDS, stagger)
        self._slower = Rhythm(SLOWER_READING_SECONDS, stagger)

    def refresh(self, queries: Queries, now: float) -> None:
        """Query what is due; `now` in monotonic seconds."""
        query, handle = queries.query, self._handle
        if self._slow.is_due(now):
            self.temperature = query(handle.temperature)
            self.throttle = query(handle.throttle_reasons)
            self.sm_clock = query(handle.sm_clock)
        if self._slower.is_due(now):
            self.fan = query(handle.fan)
            self.memory_clock = query(handle.memory_clock)
            self.power_limit = query(handle.power_limit)
            self.energy_joules = self._energy.ingest(plausible.joules(query(handle.energy)))
