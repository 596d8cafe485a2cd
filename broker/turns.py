"""When the values of a host that travel seldom have their turn."""

from typing import Any

from gpu_monitor.wire.document import (
    BOOKKEEPING,
    BOOKKEEPING_SECONDS,
    SLOW_VALUE_SECONDS,
    Snapshot,
)


class Turns:
    """The turns of one host's slow values, and of its bookkeeping.

    `phase` (0 to 1) spreads the hosts over the period, so that they do not all travel at once.
    """

    __slots__ = ("_book_turn", "_phase", "_slow_turn")

    def __init__(self, phase: float) -> None:
        self._phase = phase
        self._slow_turn = self._book_turn = -1

    def due(self, now: float) -> tuple[bool, bool]:
        """Whether slow values and bookkeeping are due at `now` (any steady clock, seconds).

        Each is due once per period; bookkeeping only together with slow values.
        """
        slow_turn = int(now / SLOW_VALUE_SECONDS + self._phase)
        if slow_turn == self._slow_turn:
            return False, False
        self._slow_turn = slow_turn
        book_turn = int(now / BOOKKEEPING_SECONDS + self._phase)
        book, self._book_turn = book_turn != self._book_turn, book_turn
        return True, book


def bookkeeping(snapshot: Snapshot, heard_at: float, age: float) -> dict[str, Any]:
    """The members of BOOKKEEPING.

    `clock_offset_seconds` is how far the host's wall clock is ahead of the broker's; a constant
    delay of the link is part of it. `age` of the sample and `heard_at` (unix time) in seconds.
    """
    offset = snapshot["sampled_at"] - (heard_at - age)
    values = (round(heard_at, 3), snapshot["sequence"], round(offset, 2), snapshot["collector"])
    return dict(zip(BOOKKEEPING, values, strict=True))
