"""What was turned away before anyone signed in: counted by reason, logged once a minute.

Whatever a stranger can repeat must not fill the log.
"""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

REJECTION_LOG_SECONDS = 60.0
MALFORMED, OVERSIZED, LATE, CROWDED = "malformed", "oversized", "late", "crowded"
"""No HTTP; a request or message that is too large; one that did not arrive in time; a connection
too many of its address."""
REASONS = (MALFORMED, OVERSIZED, LATE, CROWDED)


class Rejections:
    """`counts` has every reason; `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.counts = dict.fromkeys(REASONS, 0)
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}

    def count(self, reason: str, message: str) -> None:
        """One more for this reason, one of REASONS."""
        self.counts[reason] += 1
        self.warn(reason, message)

    def warn(self, topic: str, message: str) -> None:
        """Log the message, unless one on this topic was logged less than a minute ago."""
        now = self._clock()
        if now - self._logged_at.get(topic, float("-inf")) < REJECTION_LOG_SECONDS:
            self._unlogged[topic] = self._unlogged.get(topic, 0) + 1
            return
        self._logged_at[topic] = now
        others = self._unlogged.pop(topic, 0)
        log.warning("%s%s", message, f" ({others} more since this was last logged)" * (others > 0))
