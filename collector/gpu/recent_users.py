"""Whose processes were on one GPU in the last seconds."""

import os
from collections.abc import Iterable

RECENT_USER_SECONDS = 15.0
"""Longer than the interval at which Xids are received: a program that ran into one has ended."""
_ROOT = 0
"""The owner of /proc/PID for a process that must not be inspected, too: no evidence of a user."""


class RecentUsers:
    """The owners of the processes on one GPU.

    Written by the thread that reads the GPU, and read by the one that receives its Xids.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._seen: dict[int, tuple[int | None, float]] = {}

    def update(self, pids: Iterable[int], now: float) -> None:
        """The processes that are on the GPU now; `now` in monotonic seconds."""
        known = self._seen
        recent = {pid: each for pid, each in known.items() if now - each[1] < RECENT_USER_SECONDS}
        for pid in pids:
            owner = recent[pid][0] if pid in recent else self._owner(pid)
            recent[pid] = (owner, now)
        self._seen = recent

    def uids(self, now: float) -> frozenset[int]:
        """The users other than root; empty where none is known."""
        return frozenset(
            uid
            for uid, at in self._seen.values()
            if uid not in (None, _ROOT) and now - at < RECENT_USER_SECONDS
        )

    def _owner(self, pid: int) -> int | None:
        try:
            return os.stat(f"{self._proc}/{pid}").st_uid
        except OSError:
            return None
