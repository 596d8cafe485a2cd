"""How much the broker has to do, and whether it keeps up; pure."""

from dataclasses import dataclass
from typing import Any

LOAD_SECONDS = 10.0
"""Every subscriber and every page receives the load, so it is published this seldom."""


@dataclass
class Load:
    """`messages` have arrived since the start, of which `overtaken` were replaced by a newer one of
    the same host before their turn.

    `waiting` messages at once and `late_seconds` of a tick are the maxima since the last report.
    """

    messages: int = 0
    overtaken: int = 0
    waiting: int = 0
    late_seconds: float = 0.0
    due_at: float = float("-inf")

    def count_received(self, messages: int, waiting: int) -> None:
        """`messages` have just arrived, and `waiting` wait now."""
        self.messages += messages
        self.waiting = max(self.waiting, waiting)

    def count_tick(self, late_seconds: float) -> None:
        """A tick begins; negative if it is early."""
        self.late_seconds = max(self.late_seconds, late_seconds)

    def report(self, now: float) -> dict[str, Any] | None:
        """The document's member `load` if it is due; `now` is any steady clock in seconds."""
        if now < self.due_at:
            return None
        load = {
            "messages": self.messages,
            "overtaken_messages": self.overtaken,
            "waiting_messages": self.waiting,
            "tick_late_seconds": round(self.late_seconds, 3),
        }
        self.waiting, self.late_seconds, self.due_at = 0, 0.0, now + LOAD_SECONDS
        return load
