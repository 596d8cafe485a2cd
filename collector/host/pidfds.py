"""Processes followed by pidfd: one system call shows which of them have ended."""

import os
import resource
import select
from collections.abc import Callable

MAX_FOLLOWED = 512
WANTED_FILES = 4096
"""Open files that a collector asks for: the usual limit of 1,024 is shared with all of `up`."""
FOLLOWED_SHARE = 4
"""At most one in this many of the files that may be open is a pidfd."""

PIDFD_OPEN: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
"""None where Python was built with headers older than Linux 5.3, as portable builds are."""


def allow_many_files() -> None:
    """Raise the soft limit of open files as far as the hard one allows, to what is wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_followed() -> int:
    """How many processes may be followed, so that files are left for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    return MAX_FOLLOWED if unlimited else min(MAX_FOLLOWED, soft // FOLLOWED_SHARE)


class PidFds:
    """Holds a pidfd for each process, which stays that process's when its pid is reused.

    At most `limit` processes are followed.
    """

    def __init__(
        self,
        limit: int = MAX_FOLLOWED,
        pidfd_open: Callable[[int], int] | None = PIDFD_OPEN,
    ) -> None:
        self._limit = limit
        self._open = pidfd_open
        self._poll = select.poll()
        self._pids: dict[int, int] = {}
        self._descriptors: dict[int, int] = {}

    def follow(self, pid: int) -> bool:
        """Follow the process that has `pid` now; False where that cannot be done."""
        self.forget(pid)
        if self._open is None or len(self._pids) >= self._limit:
            return False
        try:
            descriptor = self._open(pid)
        except (OSError, OverflowError):  # it ended, no descriptors left, a kernel before 5.3
            return False
        self._pids[descriptor] = pid
        self._descriptors[pid] = descriptor
        self._poll.register(descriptor, select.POLLIN)
        return True

    def is_followed(self, pid: int) -> bool:
        """Whether `pid` is followed; if it is and has not `ended`, it is the same process."""
        return pid in self._descriptors

    def ended(self) -> set[int]:
        """The followed processes that have ended, zombies among them."""
        return {self._pids[descriptor] for descriptor, _ in self._poll.poll(0)}

    def forget(self, pid: int) -> None:
        """Stop following `pid`, if it was followed."""
        descriptor = self._descriptors.pop(pid, None)
        if descriptor is not None:
            del self._pids[descriptor]
            self._poll.unregister(descriptor)
            os.close(descriptor)
