"""Whether a GPU has worked within the last 30 s, no matter whose work it was; pure.

Processes may be invisible (another pid namespace, a driver that hides them), their work is not.
Every time is handed in, in seconds of CLOCK_BOOTTIME.
"""

from typing import Literal, NamedTuple

from gpu_monitor.collector.activity import IDLE_GAP_INTERVALS

QUIET_PERCENT = 5
"""Utilization below this is a desktop or a monitor, not a job."""
QUIET_SECONDS = 30.0
"""A job may pause for as long, to load data or to save its state, and go on."""

Activity = Literal["working", "quiet", "unmeasured"]


class RecentWork(NamedTuple):
    """What is known about one GPU or slice.

    `quiet_since` is None while it works. `observed_since` is when the samples begin that follow one
    another without a gap; `measured` is whether they have a value, `seen_at` is when the last one
    of this kind was taken.
    """

    quiet_since: float | None
    observed_since: float
    measured: bool
    seen_at: float


def work_gap(interval: float) -> float:
    """Seconds without samples after which nothing is known any more; `interval` in seconds."""
    return max(QUIET_SECONDS, IDLE_GAP_INTERVALS * interval)


def observe_work(
    known: RecentWork | None, percent: int | None, idle_since: float | None, now: float, gap: float
) -> RecentWork:
    """What is known after a sample of `percent` utilization at `now`; None: it had no value.

    `idle_since` is what is known from elsewhere, such as from before a restart. A single sample
    without a value changes nothing; a GPU that never has one is `unmeasured`.
    """
    measured = percent is not None
    if known is None or known.measured < measured or not 0 <= now - known.seen_at <= gap:
        begun = now if idle_since is None else idle_since
        return RecentWork(None if _is_work(percent) else begun, begun, measured, now)
    if known.measured > measured:
        return known
    if _is_work(percent):
        return known._replace(quiet_since=None, seen_at=now)
    since = now if known.quiet_since is None else known.quiet_since
    return known._replace(quiet_since=since, seen_at=now)


def activity(known: RecentWork | None, now: float, gap: float) -> Activity | None:
    """The last 30 s in one word; None while they are not known."""
    if known is None or not 0 <= now - known.seen_at <= gap:
        return None
    if known.quiet_since is None:
        return "working"
    if now - known.quiet_since >= QUIET_SECONDS:
        return "quiet" if known.measured else "unmeasured"
    return "working" if known.quiet_since > known.observed_since else None


def _is_work(percent: int | None) -> bool:
    return percent is not None and percent >= QUIET_PERCENT
