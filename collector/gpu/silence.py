"""Times in which no GPU of the host answers, whatever the errors say: NVML is then opened again.

Every call fails with "unknown error" (999) after a suspend, or once a container's control group has
lost the driver's devices (NVIDIA/nvidia-container-toolkit#251, #1227), and so on.
"""

from collections.abc import Iterable

from gpu_monitor.collector.gpu.slots import Slot

SILENT_SECONDS = (30.0, 300.0)
"""How long no GPU has answered when NVML is opened again; the longest time between reopenings."""
VAIN_SECONDS = 5.0
"""If no GPU answers this long after NVML was opened again, that has not helped."""


class Silence:
    """For one thread; times in monotonic seconds.

    `since` is when it began, None while a GPU answers. `is_reported` means that NVML has been
    opened again because of it, in vain so far.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self.is_reported = False
        self._seconds = SILENT_SECONDS[0]
        self._until = 0.0
        self._vain_at: float | None = None

    def observe(self, slots: Iterable[Slot], now: float) -> None:
        """Once a second. GPUs that have not been asked yet neither begin a silence nor end it."""
        answers = {slot.answers for slot in slots}
        if True in answers or not answers:
            self.since, self.is_reported, self._vain_at = None, False, None
        elif self.since is None and None not in answers:
            self.since = now
            self._seconds = SILENT_SECONDS[0]
            self._until = now + self._seconds
        elif self._vain_at is not None and now >= self._vain_at:
            self.is_reported = True

    def has_lasted(self, now: float) -> bool:
        """Whether it has lasted so long that NVML is to be opened again."""
        return self.since is not None and now >= self._until

    def lengthen(self, now: float) -> None:
        """NVML was opened again: wait longer for the next time."""
        if self.has_lasted(now):
            self._vain_at = self._vain_at or now + VAIN_SECONDS
            self._seconds = min(2 * self._seconds, SILENT_SECONDS[1])
            self._until = now + self._seconds
