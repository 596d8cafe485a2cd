"""How much the broker has to do, and whether it keeps up; pure."""

from dataclasses import dataclass
from typing import Any

LOAD_SECONDS = 10.0
"""The load is told this seldom: every subscriber and every page is sent it."""


@dataclass
class Load:
    """`messages` came since the start. Of these `overtaken` ones were not heard, as a newer one of
    the same host came first. `waiting` and `late_seconds` are the most since they were told:
    messages that waited at once, and how late a tick began."""

    messages: int = 0
    overtaken: int = 0
    waiting: int = 0
    late_seconds: float = 0.0
    due_at: float = float("-inf")

    def received(self, messages: int, waiting: int) -> None:
        """So many came, and so many wait now."""
        self.messages += messages
        self.waiting = max(self.waiting, waiting)

    def ticked(self, late_seconds: float) -> None:
        """A tick begins; negative for one that is not yet due."""
        self.late_seconds = max(self.late_seconds, late_seconds)

    def tell(self, now: float) -> dict[str, Any] | None:
        """The member `load` of the document when it is due, by any steady clock in seconds."""
        if now < self.due_at:
            return None
        told = {
            "messages": self.messages,
            "overtaken_messages": self.overtaken,
            "waiting_messages": self.waiting,
            "tick_late_seconds": round(self.late_seconds, 3),
        }
        self.waiting, self.late_seconds, self.due_at = 0, 0.0, now + LOAD_SECONDS
        return told
