"""A collector, a line and a broker in true time, with clocks of their own; no sockets, no waiting.

Each message is known to the test by its true age, which neither end can know.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from gpu_monitor.broker.freshness import FRESH, Link, Verdict, live_seconds

LIMIT = 2.0
DELAY = 0.01
"""The least delay of a message; one-way messages cannot distinguish it from a clock offset."""
STALE_CHECK_SECONDS = 0.25
"""How often the broker looks for silent hosts."""

Delay: TypeAlias = Callable[[float], float | None]
"""How long a message sent at a moment takes; None when it is lost."""
Clock: TypeAlias = Callable[[float], float]


def quick(_: float) -> float:
    return DELAY


def right(true: float) -> float:
    return true


@dataclass
class Simulation:
    """One collector and one broker; the four clocks are functions of true time.

    The line keeps the order: nothing overtakes what was sent before it. While the broker is asleep
    it reads nothing, and afterwards all at once.
    """

    interval: float = 1.0
    seconds: float = 180.0
    sender_clock: Clock = right
    sender_wall: Clock = right
    broker_clock: Clock = right
    broker_wall: Clock = right
    delay: Delay = quick
    asleep: Callable[[float], bool] = lambda true: False
    broker_sleeps: tuple[float, float] = (0.0, 0.0)
    restarts: tuple[float, ...] = ()
    """When the broker restarts; it then knows nothing about the link."""
    collector_restarts: tuple[float, ...] = ()
    shown: list[tuple[float, float, float]] = field(default_factory=list)
    """(received, age, live until) of every sample that was judged fresh, in true time."""
    verdicts: list[Verdict] = field(default_factory=list)
    link: Link = field(default_factory=Link)

    def run(self) -> "Simulation":
        restarts, runs = list(self.restarts), 0
        for received, number, sent in self._arrivals():
            if restarts and received >= restarts[0]:
                self.link, runs = Link(), 0
                del restarts[0]
            if (begun := sum(sent >= at for at in self.collector_restarts)) > runs:
                self.link, runs = Link(self.link), begun
            self._judge(received, number, sent)
        return self

    def _arrivals(self) -> Iterable[tuple[float, int, float]]:
        before = float("-inf")
        begin, end = self.broker_sleeps
        for number in range(int(self.seconds / self.interval)):
            sent = number * self.interval
            delay = None if self.asleep(sent) else self.delay(sent)
            if delay is None:
                continue
            before = max(before, sent + delay)
            yield (end if begin <= before < end else before), number, sent

    def _judge(self, received: float, number: int, sent: float) -> None:
        wall_lag = self.broker_wall(received) - self.sender_wall(sent)
        sampled = 5000.0 + self.sender_clock(sent)
        verdict = self.link.judge(self.broker_clock(received), sampled, wall_lag, number, LIMIT)
        self.verdicts.append(verdict)
        if verdict is FRESH:
            until = received + live_seconds(self.link.late, LIMIT)
            self.shown.append((received, received - sent, until))

    def oldest_sample(self) -> float:
        """The greatest age that a sample had when it was first shown."""
        return max(age for _, age, _ in self.shown)

    def oldest_live(self) -> float:
        """The greatest age that a sample reached while its host was shown live."""
        following = [received for received, _, _ in self.shown[1:]] + [float("inf")]
        return max(
            age + min(until + STALE_CHECK_SECONDS, after) - received
            for (received, age, until), after in zip(self.shown, following, strict=True)
        )

    def longest_stale(self, begin: float, end: float) -> float:
        """The longest time in which the host was not live from `begin` to `end`."""
        shown = [(at, until) for at, _, until in self.shown if begin <= at <= end]
        ends = [(begin, begin), *shown, (end, end)]
        return max(after - until for (_, until), (after, _) in pairwise(ends))

    def longest_silence(self, begin: float, end: float) -> float:
        """The longest time without a fresh sample from `begin` to `end`."""
        moments = [begin, *(at for at, _, _ in self.shown if begin <= at <= end), end]
        return max(after - before for before, after in pairwise(moments))


class ThinLine:
    """A line that carries `rate` messages a second once it is thin, behind a buffer.

    Before the moment `thin_from` it carries them at once. A message that finds the buffer full is
    lost, as with a collector whose socket takes no more.
    """

    def __init__(self, rate: float, buffer: int, thin_from: float = 0.0) -> None:
        self._service = 1.0 / rate
        self._buffer = buffer
        self._thin_from = thin_from
        self._free_at = 0.0

    def __call__(self, sent: float) -> float | None:
        if sent < self._thin_from:
            return DELAY
        if self._free_at - sent > self._buffer * self._service:
            return None
        self._free_at = max(self._free_at, sent) + self._service
        return self._free_at - sent + DELAY


def growing(per_second: float, begin: float = 60.0) -> Delay:
    return lambda sent: DELAY + per_second * max(0.0, sent - begin)


def stepping(seconds: float, begin: float = 60.0, end: float = float("inf")) -> Delay:
    """A queue that stands: it drains at the pace at which it is filled, until it is gone."""
    return lambda sent: DELAY + (seconds if begin <= sent < end else 0.0)


def draining(seconds: float, pace: float, begin: float = 60.0) -> Delay:
    """What is sent for `seconds` waits, and then arrives at `pace` per second of sampling."""

    def delay(sent: float) -> float:
        waited = sent - begin
        return max(DELAY, seconds - waited + waited / pace) if waited >= 0 else DELAY

    return delay
