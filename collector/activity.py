"""Since when a GPU or a process does no work; pure, with the time handed in."""

from typing import NamedTuple

BLIP_PERCENT = 5
"""One sample below this, alone within a minute, is no work: a monitor's own look, a heartbeat."""
BLIP_SECONDS = 60.0
GAP_SECONDS = 300.0
"""Not observed for longer than this (collector stopped, driver gone): nothing is known of it."""


class Idle(NamedTuple):
    """What is known of one key; times in seconds of CLOCK_BOOTTIME, `since` None while working."""

    since: float | None
    blip_at: float | None
    seen_at: float


def observe(known: Idle | None, percent: int, now: float) -> Idle:
    """What is known after a sample of `percent` utilization at `now`."""
    if known is None or not 0 <= now - known.seen_at <= GAP_SECONDS:
        return Idle(now if percent == 0 else None, None, now)
    if percent == 0:
        return Idle(now if known.since is None else known.since, known.blip_at, now)
    lone = known.blip_at is None or now - known.blip_at >= BLIP_SECONDS
    if known.since is not None and percent < BLIP_PERCENT and lone:
        return Idle(known.since, now, now)
    return Idle(None, None, now)


class IdleTimes:
    """Idle times by key: a GPU's UUID, or `<uuid>/<pid>/<start ticks>` of a process on it."""

    def __init__(self, known: dict[str, Idle] | None = None) -> None:
        self._known = dict(known or {})

    def observe(self, key: str, percent: int | None, now: float) -> float | None:
        """Since when `key` is idle (CLOCK_BOOTTIME); None while it works or when not known.

        A sample that says nothing (None) neither begins nor ends an idle time.
        """
        if percent is None:
            return None
        self._known[key] = known = observe(self._known.get(key), percent, now)
        return known.since

    def since(self, key: str) -> float | None:
        """Since when `key` is idle, as of its last sample."""
        known = self._known.get(key)
        return None if known is None else known.since

    def forget(self, now: float) -> None:
        """Forget what was not observed for too long to be of use."""
        self._known = {
            key: idle for key, idle in self._known.items() if now - idle.seen_at <= GAP_SECONDS
        }

    def known(self) -> dict[str, Idle]:
        """A copy of all that is known, to be kept over a restart."""
        return dict(self._known)
