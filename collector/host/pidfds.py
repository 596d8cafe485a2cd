"""Processes followed by pidfd: one system call shows which of them have ended."""

import os
import select


class PidFds:
    """Holds a pidfd for each process, which stays that process's when its pid is reused."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._pids: dict[int, int] = {}
        self._descriptors: dict[int, int] = {}

    def follow(self, pid: int) -> bool:
        """Follow the process that has `pid` now; False where the kernel does not let us."""
        self.forget(pid)
        try:
            descriptor = os.pidfd_open(pid)
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
