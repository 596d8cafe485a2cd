"""What a GPU's readings say is wrong: hot, busy at low power for long, without a slice; pure."""

from collections.abc import Iterator

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu.readings import GpuReading

HOT_MARGIN_CELSIUS = 5
"""A GPU this close to the temperature at which it is slowed down is hot."""
HOT_LINGER_SECONDS = 30.0
"""A GPU stays hot for this long: one that is slowed down by heat cools at once, and works on."""


def hot_at(before: float | None, gpu: GpuReading, now: float) -> float | None:
    """When the GPU was hot last; None if that was long ago or never. `before` is the last answer.

    Times are in seconds of any clock that does not jump.
    """
    if not gpu.carried and _is_hot(gpu):
        return now
    return before if before is not None and now - before < HOT_LINGER_SECONDS else None


def _is_hot(gpu: GpuReading) -> bool:
    if any("thermal" in words for words in gpu.throttle or ()):
        return True
    temperature, slowdown = gpu.temperature_celsius, gpu.identity.slowdown_celsius
    if temperature is None or slowdown is None:
        return False
    return temperature >= slowdown - HOT_MARGIN_CELSIUS


def reading_findings(
    gpu: GpuReading, is_hot: bool, stalled_since: float | None
) -> Iterator[Finding]:
    """What is wrong with a GPU by its readings; `stalled_since` in seconds of CLOCK_BOOTTIME."""
    if is_hot:
        slowdown = gpu.identity.slowdown_celsius
        limit = "" if slowdown is None else f" ({slowdown} °C)"
        yield Finding(
            "gpu_hot",
            "warning",
            f"at or near the temperature at which it is slowed down{limit}",
            "check its fans and the air flow",
        )
    if gpu.mig_mode == "enabled" and not gpu.slices:
        yield Finding(
            "mig_without_slices",
            "warning",
            "in MIG mode, but no slice exists or is visible",
            "create slices (nvidia-smi mig -cgi … -C) or turn MIG off; if there are some, check the"
            " permissions of /dev/nvidia-caps",
        )
    if stalled_since is not None:
        yield Finding(
            "gpu_stalled",
            "warning",
            "busy at low power for more than ten minutes",
            "its program may be stuck, such as one that waits for another GPU",
            since=stalled_since,
        )
