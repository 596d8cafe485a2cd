"""How much one subscriber may request; pure."""

from dataclasses import dataclass

REQUESTS_PER_SECOND = 2000.0
"""More than a web server's HTTP API can pass on, and 2 % of what a flood reaches."""
BURST_REQUESTS = 4000.0
"""A new connection may send this many at once."""
PICTURE_COST = 400.0
"""In requests: a picture of a large fleet takes megabytes of the connection's queue."""


@dataclass(slots=True)
class RequestBudget:
    """A token bucket: time fills it, requests empty it. `now` is any steady clock in seconds."""

    _filled_at: float
    _left: float = BURST_REQUESTS
    refused: bool = False
    """Whether the connection has been cut off: what it sent before it is closed adds nothing."""

    def spend(self, cost: float, now: float) -> bool:
        """Pays for a request; False once more was requested than is allowed."""
        self._refill(now)
        self._left -= cost
        return self._left >= 0

    def is_full(self, now: float) -> bool:
        """Whether it equals the budget of a new connection."""
        self._refill(now)
        return self._left >= BURST_REQUESTS

    def _refill(self, now: float) -> None:
        elapsed = max(0.0, now - self._filled_at)
        self._left = min(BURST_REQUESTS, self._left + elapsed * REQUESTS_PER_SECOND)
        self._filled_at = now
