"""How old a sample is, told from when it came and what its sender's clock said; pure."""

from enum import Enum

WINDOW_SECONDS = 60.0
_BUCKET_SECONDS = 5.0
"""The window keeps at most one minimum per bucket, so that a drifting clock costs no memory."""
MAX_DRIFT = 500e-6
"""Seconds per second that two boot clocks may run apart while nothing is heard."""
STEP_SPREAD_SECONDS = 0.5
STEP_COUNT = 4
STEP_SPAN_SECONDS = 1.5


class Verdict(Enum):
    """What a sample is worth: only a fresh one is shown and keeps its host live."""

    FRESH = "fresh"
    OLD = "old"
    DUPLICATE = "duplicate"
    UNCONFIRMED = "unconfirmed"


# Members of an Enum are found slowly by attribute; these stand on the path of every message.
FRESH, OLD = Verdict.FRESH, Verdict.OLD
DUPLICATE, UNCONFIRMED = Verdict.DUPLICATE, Verdict.UNCONFIRMED


class Link:
    """What one run of a collector has taught about the way its samples take.

    Two clocks are compared that only share their pace: the broker's at receipt and the sender's
    before the sample, both CLOCK_BOOTTIME in seconds. The smallest lag (received - sampled) of
    the last minute in which something fresh was heard stands for "no delay"; what a sample lags
    beyond it is its age. A constant delay cannot be told from an offset of the clocks.
    """

    __slots__ = ("_candidate", "_lows", "_over", "_sequence", "age")

    def __init__(self) -> None:
        self.age = 0.0
        """Seconds, of the last sample that was judged fresh."""
        self._sequence = -1
        self._lows: list[tuple[float, float]] = []  # (received, lag), lags rising; at most 13
        self._candidate: tuple[float, float] | None = None  # (sampled, lag)
        self._over: tuple[int, float, float, float] | None = None  # count, since, low, high

    def judge(self, received: float, sampled: float, sequence: int, limit: float) -> Verdict:
        """What the sample is worth; one older than `limit` seconds is OLD.

        An OLD sample leaves the window as it is: however long a backlog takes to drain, it never
        becomes the measure of what is fresh.
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
        """Two samples in a row that came as far apart as they were taken are no backlog.

        Those of a backlog come in a burst: the lag falls by nearly the whole time between them.
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
        """Samples that stay late by the same amount mean that a clock stepped (or a VM slept)."""
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
