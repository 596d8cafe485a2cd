"""The boot clock, by which freshness is judged."""

import time

_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds since boot by CLOCK_BOOTTIME, which keeps running during suspend.

    CLOCK_MONOTONIC on systems without it, where it may stop during suspend.
    """
    return time.clock_gettime(_CLOCK)
