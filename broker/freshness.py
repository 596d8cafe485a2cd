"""How old a sample is, judged by its arrival and its sender's clock; pure."""

from enum import Enum

WINDOW_SECONDS = 60.0
_BUCKET_SECONDS = 5.0
"""The window keeps at most one minimum per bucket, so a drifting clock takes no memory."""
MAX_DRIFT = 500e-6
"""Seconds per second that two boot clocks may drift apart while no sample arrives."""
STEP_SPREAD_SECONDS = 0.5
STEP_COUNT = 4
STEP_SPAN_SECONDS = 1.5


class Verdict(Enum):
    """Only a fresh sample is published, and keeps its host live."""

    FRESH = "fresh"
    OLD = "old"
    DUPLICATE = "duplicate"
    UNCONFIRMED = "unconfirmed"


# Looking up members of an Enum is slow, and every message needs these.
FRESH, OLD = Verdict.FRESH, Verdict.OLD
DUPLICATE, UNCONFIRMED = Verdict.DUPLICATE, Verdict.UNCONFIRMED


class Link:
    """What is known of the delay between one run of a collector and the broker.

    It compares two clocks that only run at the same rate: the broker's at receipt and the sender's
    before the sample, both CLOCK_BOOTTIME in seconds. The smallest lag (received - sampled) of the
    last minute with fresh samples counts as "no delay"; the age of a sample is its lag beyond that.
    A constant delay cannot be distinguished from an offset of the clocks.
    """

    __slots__ = ("_candidate", "_lows", "_over", "_sequence", "age")

    def __init__(self) -> None:
        self.age = 0.0
        """Age of the last fresh sample, in seconds."""
        self._sequence = -1
        self._lows: list[tuple[float, float]] = []  # (received, lag), lags rising; at most 13
        self._candidate: tuple[float, float] | None = None  # (sampled, lag)
        self._over: tuple[int, float, float, float] | None = None  # count, since, low, high

    def judge(self, received: float, sampled: float, sequence: int, limit: float) -> Verdict:
        """The verdict on a sample; one older than `limit` seconds is OLD.

        An OLD sample does not change the window: however long a backlog takes to drain, it never
        redefines what is fresh.
        """
        if sequence <= self._sequence:
            return DUPLICATE
        self._sequence = sequence
        lag = received - sampled
        lows = self._lows
        if not lows:
            return self._confirm(received, sampled, lag)
        age = lag - lows[0][1]
        last_received, last_lag = lows[-1]
        if age + MAX_DRIFT * (received - last_received) > limit:
            return self._weigh_step(received, lag)
        self._over = None
        self.age = age if age > 0.0 else 0.0
        if lag < last_lag or received - last_received >= _BUCKET_SECONDS:
            while lows and lows[-1][1] >= lag:
                lows.pop()
            lows.append((received, lag))
            while lows[0][0] < received - WINDOW_SECONDS:
                del lows[0]
        return FRESH

    def _confirm(self, received: float, sampled: float, lag: float) -> Verdict:
        """Two samples that arrive as far apart as they were taken are not a backlog.

        A backlog arrives in a burst: the lag drops by nearly the whole time between two samples.
        """
        candidate, self._candidate = self._candidate, (sampled, lag)
        if candidate is None or sampled <= candidate[0]:
            return UNCONFIRMED
        drift = abs(lag - candidate[1])
        if drift > STEP_SPREAD_SECONDS or drift > (sampled - candidate[0]) / 2:
            return UNCONFIRMED
        self._start(received, lag, min(lag, candidate[1]))
        return FRESH

    def _weigh_step(self, received: float, lag: float) -> Verdict:
        """Samples that stay equally late mean that a clock stepped or a VM was paused."""
        count, since, low, high = self._over or (0, received, lag, lag)
        low, high = min(low, lag), max(high, lag)
        if high - low > STEP_SPREAD_SECONDS:
            count, since, low, high = 0, received, lag, lag
        count += 1
        self._over = (count, since, low, high)
        if count < STEP_COUNT or received - since < STEP_SPAN_SECONDS:
            return OLD
        self._start(received, lag, low)
        return FRESH

    def _start(self, received: float, lag: float, low: float) -> None:
        self._lows.clear()
        self._lows.append((received, low))
        self._candidate = self._over = None
        self.age = lag - low
