"""The boot clock, by which freshness is judged."""

import time

_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds since boot by CLOCK_BOOTTIME, which keeps running during suspend.

    CLOCK_MONOTONIC on systems without it, such as macOS and the BSDs: there a host that was
    suspended looks as if it had been silent for that much less.
    """
    return time.clock_gettime(_CLOCK)
