"""How old a sample is, judged by its arrival and its sender's clocks; pure."""

from enum import Enum

MAX_DRIFT = 500e-6
"""Seconds per second by which two boot clocks may drift apart."""
_RISE_SPAN_SECONDS = 500.0
"""A longer silence raises the floor no further: it may have ended with a queue."""
STEP_SPREAD_SECONDS = 0.5
SUSPECT_SECONDS = 1.0
"""A fresh sample that is later than this, after its clocks stepped, may be late by the step."""
STEP_COUNT = 4
STEP_SPAN_SECONDS = 1.5
WALL_TRUST_SECONDS = 0.75
"""Wall clocks that agree to within the limit are believed for this much of a constant delay. A host
whose clock is really behind loses as much of its time, and still bears jitter of 0.5 s."""
WALL_AGREEMENT_SECONDS = 1.0
LATE_ALLOWANCE_SECONDS = 0.25
"""By how much the age of what is shown may exceed the limit before its host is stale."""


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
    before the sample, both CLOCK_BOOTTIME in seconds. The floor is the smallest lag (received -
    sampled) so far and counts as "no delay"; it rises with the drift that clocks may have, and no
    faster, so that a queue that fills slowly or stands still is never taken for a clock. A constant
    delay cannot be distinguished from an offset of the boot clocks, except by wall clocks:
    `wall_lag` is the broker's at receipt minus the sender's before the sample.
    """

    _known: "Link | None"
    __slots__ = (
        "_at",
        "_candidate",
        "_floor",
        "_known",
        "_over",
        "_sequence",
        "_skew",
        "_trusted",
        "age",
        "late",
    )

    def __init__(self, before: "Link | None" = None) -> None:
        """`before` is the link of an earlier run by the same boot clock."""
        self.age = 0.0
        """How much longer the last fresh sample took than the quickest, in seconds."""
        self.late = 0.0
        """How old the last sample was on arrival, fresh or not; with the delay that even the
        quickest had by the wall clocks."""
        known: Link | None = before
        if before is not None and before._floor is None:
            known = before._known
        self._known = known
        self._sequence = -1
        self._floor: float | None = None
        self._at = 0.0  # when the floor was last updated
        self._trusted = 0.0  # the part of the delay behind the floor that the wall clocks confirm
        self._skew = 0.0  # wall_lag - lag: changes where a wall or boot clock steps
        self._candidate: tuple[float, float] | None = None  # (sampled, lag)
        self._over: tuple[int, float, float, float] | None = None  # count, since, low, high

    def judge(
        self, received: float, sampled: float, wall_lag: float, sequence: int, limit: float
    ) -> Verdict:
        """The verdict on a sample; one older than `limit` seconds is OLD.

        An OLD sample does not move the floor: however long a backlog takes to drain, it never
        redefines what is fresh.
        """
        if sequence <= self._sequence:
            return DUPLICATE
        self._sequence = sequence
        lag = received - sampled
        floor = self._floor
        if floor is None:
            return self._confirm(received, sampled, lag, wall_lag, limit)
        silent = received - self._at
        if lag - floor + MAX_DRIFT * silent > limit:  # it may have drifted either way
            return self._weigh_step(received, lag, wall_lag, limit)
        if floor - lag > STEP_SPREAD_SECONDS:
            return self._confirm(received, sampled, lag, wall_lag, limit)
        floor += MAX_DRIFT * (silent if silent < _RISE_SPAN_SECONDS else _RISE_SPAN_SECONDS)
        trusted = _trusted(wall_lag, limit) if wall_lag > 0.0 else 0.0
        if lag - trusted < floor:
            floor, self._trusted = lag - trusted, trusted
        late = lag - floor
        skew = wall_lag - lag
        if late > SUSPECT_SECONDS and abs(skew - self._skew) > STEP_SPREAD_SECONDS:
            if self._weigh_step(received, lag, wall_lag, limit) is FRESH:
                return FRESH
        else:
            self._skew = skew
            self._candidate = self._over = None
        self._floor, self._at = floor, received
        self.late = late
        age = late - self._trusted
        self.age = age if age > 0.0 else 0.0
        return FRESH

    def _confirm(
        self, received: float, sampled: float, lag: float, wall_lag: float, limit: float
    ) -> Verdict:
        """Two samples that arrive as far apart as they were taken are not a backlog.

        A backlog arrives in a burst: the lag drops by nearly the whole time between two samples.
        """
        candidate, self._candidate = self._candidate, (sampled, lag)
        if candidate is None or sampled <= candidate[0]:
            return UNCONFIRMED
        drift = abs(lag - candidate[1])
        if drift > STEP_SPREAD_SECONDS or drift > (sampled - candidate[0]) / 2:
            return UNCONFIRMED
        trusted = _trusted(wall_lag, limit)
        self._start(received, lag, wall_lag, min(lag, candidate[1]) - trusted, trusted)
        known, self._known = self._known, None
        return FRESH if known is None else self._inherit(known, received, lag, limit)

    def _inherit(self, known: "Link", received: float, lag: float, limit: float) -> Verdict:
        """A collector that restarts behind a queue does not make the queue its zero."""
        assert known._floor is not None and self._floor is not None
        floor = known._floor + MAX_DRIFT * min(received - known._at, _RISE_SPAN_SECONDS)
        if floor >= self._floor:
            return FRESH
        self._floor, self._trusted, self.late = floor, known._trusted, lag - floor
        self.age = max(0.0, self.late - self._trusted)
        if self.late <= limit:
            return FRESH
        self._skew = known._skew
        return OLD

    def _weigh_step(self, received: float, lag: float, wall_lag: float, limit: float) -> Verdict:
        """Samples that stay equally late mean that a clock stepped or drifted, or stand in a queue.

        A clock is believed only where the wall clocks agree with it, or after a silence so long
        that boot clocks may have drifted that far.
        """
        assert self._floor is not None
        self.late = lag - self._floor
        count, since, low, high = self._over or (0, received, lag, lag)
        low, high = min(low, lag), max(high, lag)
        if high - low > STEP_SPREAD_SECONDS:
            count, since, low, high = 0, received, lag, lag
        count += 1
        self._over = (count, since, low, high)
        if count < STEP_COUNT or received - since < STEP_SPAN_SECONDS:
            return OLD
        drift = MAX_DRIFT * (since - self._at)
        if self.late > drift + STEP_SPREAD_SECONDS and not self._has_stepped(lag, wall_lag, limit):
            return OLD
        trusted = _trusted(wall_lag, limit)
        self._start(received, lag, wall_lag, low - trusted, trusted)
        return FRESH

    def _has_stepped(self, lag: float, wall_lag: float, limit: float) -> bool:
        """Whether the wall clocks deny that an old sample is old, other than before."""
        step = wall_lag - lag - self._skew
        by_wall = self.late + step
        is_fresh = -STEP_SPREAD_SECONDS <= by_wall <= limit
        return abs(step) > STEP_SPREAD_SECONDS and (
            is_fresh or abs(wall_lag) <= WALL_AGREEMENT_SECONDS
        )

    def _start(
        self, received: float, lag: float, wall_lag: float, floor: float, trusted: float
    ) -> None:
        self._floor, self._at, self._trusted = floor, received, trusted
        self._skew = wall_lag - lag
        self._candidate = self._over = None
        self.late = lag - floor
        self.age = max(0.0, self.late - trusted)


def live_seconds(late: float, limit: float) -> float:
    """How long a sample that was this `late` on arrival keeps its host live."""
    over = late - LATE_ALLOWANCE_SECONDS
    return limit - over if over > 0.0 else limit


def _trusted(wall_lag: float, limit: float) -> float:
    """The part of a delay that the wall clocks confirm; 0 if they differ by more than the limit."""
    return min(wall_lag, WALL_TRUST_SECONDS) if 0.0 < wall_lag <= limit else 0.0
