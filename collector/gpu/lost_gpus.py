"""GPUs that do not answer while others do: probed less and less often, until one is back."""

from collections.abc import Iterable, Sequence

from gpu_monitor.collector.gpu.gpu_probe import GpuProbe
from gpu_monitor.collector.gpu.slots import Slot

LOST_PROBE_SECONDS = (30.0, 300.0)
"""The first wait and the longest: opening a dead GPU may slow the driver down for all others."""


class _Wait:
    """How long one GPU waits for its next probe, in monotonic seconds."""

    def __init__(self, now: float) -> None:
        self.seconds = LOST_PROBE_SECONDS[0]
        self.until = now + self.seconds
        self.down_at = now

    def lengthen(self, now: float) -> None:
        self.seconds = min(2 * self.seconds, LOST_PROBE_SECONDS[1])
        self.until = now + self.seconds


class LostGpus:
    """Probes the GPUs that do not answer, one at a time, those first that have waited longest.

    A GPU that is down again soon after it was back keeps its wait. `has_returned` means that NVML
    would find one that it cannot read now, once it is opened again.
    """

    def __init__(self, probe: GpuProbe) -> None:
        self.has_returned = False
        self._probe = probe
        self._probed: str | None = None
        self._waits: dict[str, _Wait] = {}

    def probe_due(self, slots: Sequence[Slot], lost: Iterable[Slot], now: float) -> None:
        """Every few seconds: judge the last probe, begin the next; `lost` are to be probed."""
        down = {slot.key: slot for slot in lost}
        for key in down:
            self._waits.setdefault(key, _Wait(now)).down_at = now
        self._forget_recovered(now)
        self._probe.end_overdue(now)
        if self._probe.is_running() or self.has_returned:
            return
        self._judge(down, now)
        due = [key for key in down if self._waits[key].until <= now]
        if due and not self.has_returned:
            self._start(down[min(due, key=lambda key: self._waits[key].until)], slots, now)

    def forget_return(self) -> None:
        """NVML has been opened again."""
        self.has_returned = False

    def _judge(self, down: dict[str, Slot], now: float) -> None:
        key, self._probed = self._probed, None
        if key in down:  # else it was found otherwise
            self._waits[key].lengthen(now)
            self.has_returned = self._probe.result() is True

    def _start(self, slot: Slot, slots: Sequence[Slot], now: float) -> None:
        self._probed = slot.key
        place = slot.identity.pci_bus_id
        taken = [each.identity.pci_bus_id or "" for each in slots if each is not slot]
        self._probe.launch(place or str(slot.identity.number), taken, now)

    def _forget_recovered(self, now: float) -> None:
        for key, wait in list(self._waits.items()):
            if now - wait.down_at > LOST_PROBE_SECONDS[1]:
                del self._waits[key]
