"""Wall time from the clock that runs on through suspend, without a wobble."""

import time
from typing import NamedTuple

from gpu_monitor.wire.clock import boottime

STEP_SECONDS = 0.5


class Moment(NamedTuple):
    """One moment by three clocks: monotonic, CLOCK_BOOTTIME and wall clock, all in seconds."""

    monotonic: float
    boottime: float
    wall: float


def moment() -> Moment:
    """Now."""
    return Moment(time.monotonic(), boottime(), time.time())


class WallOffset:
    """Turns CLOCK_BOOTTIME into unix seconds, the same second for the same moment every time.

    The offset follows the wall clock only in steps over half a second: without that, an
    unchanged time would jump between two whole seconds and travel again with every snapshot.
    """

    def __init__(self) -> None:
        self._offset: float | None = None

    def follow(self, now: Moment) -> None:
        """Take the wall clock's step over, if it made one."""
        offset = now.wall - now.boottime
        if self._offset is None or abs(offset - self._offset) > STEP_SECONDS:
            self._offset = offset

    def unix(self, boottime: float | None) -> int | None:
        """Whole unix seconds of a moment of CLOCK_BOOTTIME; None for None."""
        if boottime is None or self._offset is None:
            return None
        return max(0, int(boottime + self._offset))
