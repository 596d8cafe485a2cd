"""Wall time computed from the boot clock, which keeps running during suspend, without jitter."""

import time
from typing import NamedTuple

from gpu_monitor.wire.clock import boottime

CLOCK_STEP_SECONDS = 0.5


class Moment(NamedTuple):
    """One moment by three clocks: monotonic, CLOCK_BOOTTIME and the wall clock, all in seconds."""

    monotonic: float
    boottime: float
    wall: float


def moment() -> Moment:
    """Now."""
    return Moment(time.monotonic(), boottime(), time.time())


class WallOffset:
    """Converts CLOCK_BOOTTIME to unix seconds, always to the same second for the same moment.

    The offset follows the wall clock in steps of more than half a second only. Otherwise an
    unchanged time would alternate between two seconds, and be sent again with every snapshot.
    """

    def __init__(self) -> None:
        self._offset: float | None = None

    def follow(self, now: Moment) -> None:
        """Follow a step of the wall clock, if it made one."""
        offset = now.wall - now.boottime
        if self._offset is None or abs(offset - self._offset) > CLOCK_STEP_SECONDS:
            self._offset = offset

    def unix(self, boottime: float | None) -> int | None:
        """Whole unix seconds of a moment in CLOCK_BOOTTIME; None for None."""
        if boottime is None or self._offset is None:
            return None
        return max(0, int(boottime + self._offset))
