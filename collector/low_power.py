"""Since when a GPU is busy all the time at low power; pure, with the time handed in.

Utilization is the share of time in which a kernel ran, whatever it did
(nvmlDeviceGetUtilizationRates). One that waits for another GPU, as a collective does that somebody
never joins, spins: 100 %, at a fraction of the power of work and with memory at rest.
"""

from gpu_monitor.collector.gpu.readings import GpuReading

BUSY_PERCENT = 95
POWER_SHARE = 0.4
"""Of the limit. Hangs were reported at 40 and 47 W of 250 (horovod#3611) and 70 W (nccl#968)."""
MEMORY_PERCENT = 2
"""Share of time in which memory is read or written; small models may draw little power too."""
LASTING_SECONDS = 600.0
"""Shorter than this is a phase of a job, such as its start."""


def follow(since: float | None, gpu: GpuReading, now: float) -> float | None:
    """Since when `gpu` is so, in the seconds of `now`; `since` is what the last sample gave.

    None where it is not, or where not all that has to be known is.
    """
    if gpu.carried:
        return since
    busy, memory = gpu.utilization_percent, gpu.memory_controller_utilization_percent
    power, limit = gpu.power_watts, gpu.power_limit_watts
    if busy is None or memory is None or power is None or limit is None:
        return None
    if busy < BUSY_PERCENT or memory > MEMORY_PERCENT or power >= POWER_SHARE * limit:
        return None
    return now if since is None else since


def lasting(since: float | None, now: float) -> float | None:
    """`since`, once it is long enough ago to be told."""
    return None if since is None or now - since < LASTING_SECONDS else since
