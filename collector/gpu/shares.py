"""Which share of a GPU's time each process had, from the driver's samples; pure."""

from collections.abc import Collection

STANDS_SECONDS = 2.0
"""A sample stands for this long: the driver takes one at most every second."""


class Shares:
    """SM percent by pid, from answers that each hold only what is new since the one before.

    The driver samples the processes that did something: a process without a sample in the last
    moments had 0, which is not the same as unknown. The first answer holds the past, up to
    minutes of it; it only tells from which time on to ask.
    """

    def __init__(self) -> None:
        self.since = 0
        """The time of the newest sample, in the driver's microseconds: ask from there on."""
        self._answers = 0
        self._newest: dict[int, tuple[int, float]] = {}

    def take(self, samples: Collection[tuple[int, int, int]], now: float) -> None:
        """One answer: samples of (pid, the driver's time, percent); `now` in monotonic seconds."""
        self._answers += 1
        newest = {
            pid: share for pid, share in self._newest.items() if now - share[1] <= STANDS_SECONDS
        }
        for pid, at, percent in sorted(samples, key=lambda sample: sample[1]):
            self.since = max(self.since, at)
            if self._answers > 1 and 0 <= percent <= 100:
                newest[pid] = (percent, now)
        self._newest = newest

    def percent(self, pid: int) -> int | None:
        """The process's share; None while only the past is known."""
        if self._answers < 2:
            return None
        return self._newest.get(pid, (0, 0.0))[0]
