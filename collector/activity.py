"""Since when a GPU or process is idle, and since when a GPU is stalled; pure.

Every time is handed in, in seconds of CLOCK_BOOTTIME.
"""

from typing import NamedTuple

from gpu_monitor.collector.gpu.readings import GpuReading

BLIP_PERCENT = 5
"""One sample below this, the only one within a minute, is not work but a monitor or a heartbeat."""
BLIP_SECONDS = 60.0
IDLE_GAP_SECONDS = 300.0
"""After a longer gap without samples (collector stopped, driver gone) an idle time is forgotten."""
IDLE_GAP_INTERVALS = 3
"""The gap lasts for at least this many intervals: two samples may be far apart."""
STALLED_UTILIZATION_PERCENT = 95
STALLED_POWER_SHARE = 0.4
"""Of the limit. Hangs were reported at 40 and 47 W of 250 (horovod#3611) and 70 W (nccl#968)."""
STALLED_MEMORY_PERCENT = 2
"""Share of time in which memory is read or written; small models may draw little power too."""
STALLED_SECONDS = 600.0
"""Anything shorter is a phase of a job, such as its start."""


class Idle(NamedTuple):
    """What is known about one key; `since` is None while it works."""

    since: float | None
    blip_at: float | None
    seen_at: float


def idle_gap(interval: float) -> float:
    """Seconds without samples after which an idle time is forgotten; `interval` in seconds."""
    return max(IDLE_GAP_SECONDS, IDLE_GAP_INTERVALS * interval)


def observe(known: Idle | None, percent: int, now: float, gap: float = IDLE_GAP_SECONDS) -> Idle:
    """What is known after a sample of `percent` utilization at `now`."""
    if known is None or not 0 <= now - known.seen_at <= gap:
        return Idle(now if percent == 0 else None, None, now)
    if percent == 0:
        return Idle(now if known.since is None else known.since, known.blip_at, now)
    lone = known.blip_at is None or now - known.blip_at >= BLIP_SECONDS
    if known.since is not None and percent < BLIP_PERCENT and lone:
        return Idle(known.since, now, now)
    return Idle(None, None, now)


class IdleTimes:
    """Idle times by key: a GPU's UUID, or `<uuid>/<pid>/<start ticks>` of a process on it.

    After a longer gap than `gap` (seconds) without samples a key is forgotten.
    """

    def __init__(self, known: dict[str, Idle] | None = None, gap: float = IDLE_GAP_SECONDS) -> None:
        self._known = dict(known or {})
        self._gap = gap

    def observe(self, key: str, percent: int | None, now: float) -> float | None:
        """Since when `key` is idle; None while it works, and where that is not known.

        A sample without a value (None) neither begins nor ends an idle time.
        """
        if percent is None:
            return None
        self._known[key] = known = observe(self._known.get(key), percent, now, self._gap)
        return known.since

    def since(self, key: str) -> float | None:
        """Since when `key` is idle, as of its last sample."""
        known = self._known.get(key)
        return None if known is None else known.since

    def forget(self, now: float) -> None:
        """Forget every key that has had no sample for too long."""
        self._known = {
            key: idle for key, idle in self._known.items() if now - idle.seen_at <= self._gap
        }

    def known(self) -> dict[str, Idle]:
        """A copy of everything known, to be kept over a restart."""
        return dict(self._known)


def low_power_since(before: float | None, gpu: GpuReading, now: float) -> float | None:
    """Since when `gpu` is busy at low power; `before` is the answer for the previous sample.

    None where it is not, or where one of the values is not known. Utilization is the share of time
    in which a kernel ran, whatever it did (nvmlDeviceGetUtilizationRates). A kernel that waits for
    another GPU, as in a collective that one process never joins, spins: 100 %, at a fraction of
    the power of real work and with the memory at rest.
    """
    if gpu.carried:
        return before
    busy, memory = gpu.utilization_percent, gpu.memory_controller_utilization_percent
    power, limit = gpu.power_watts, gpu.power_limit_watts
    if busy is None or memory is None or power is None or limit is None:
        return None
    if busy < STALLED_UTILIZATION_PERCENT or memory > STALLED_MEMORY_PERCENT:
        return None
    if power >= STALLED_POWER_SHARE * limit:
        return None
    return now if before is None else before


def stalled_since(since: float | None, now: float) -> float | None:
    """`since`, from `low_power_since`, once that has lasted ten minutes."""
    return None if since is None or now - since < STALLED_SECONDS else since
