"""The GPUs of the picture: each keeps its place there, whatever becomes of it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from collector.device import Device
from collector.failures import GPU_NOT_FOUND, LOST, NvmlError, words
from collector.health import Health
from collector.questions import Trace
from collector.readings import GpuReading, Identity, State

Found: TypeAlias = "Device | tuple[int, NvmlError]"
"""A GPU that NVML opened, or the index of one that it did not, and why."""


class Timed(NamedTuple):
    """A reading and when it began, in monotonic seconds."""

    reading: GpuReading
    at: float


class Slot:
    """A GPU's place in the picture, kept when the GPU is gone.

    `key` is its UUID, or its bus id or index where NVML would not say. `absent` is what to show
    while there is no `device`.
    """

    def __init__(self, key: str, identity: Identity) -> None:
        self.key = key
        self.identity = identity
        self.device: Device | None = None
        self.absent: GpuReading | None = None
        self.latest: Timed | None = None
        self._health = Health()

    @property
    def trace(self) -> Trace:
        """Names the call that a reading is in."""
        return Trace() if self.device is None else self.device.trace

    def read(self, now: float) -> None:
        """Read the GPU into `latest`; blocks as long as the driver does."""
        device = self.device
        if device is None:
            return
        reading = device.read(now)
        if self.device is device:  # else it was opened anew while this call hung
            self.identity = device.identity
            self.latest = Timed(reading, now)

    def take(self, device: Device) -> None:
        """The GPU is there, as `device`."""
        device.health = self._health
        self.device, self.absent, self.latest = device, None, None
        self.identity = self.identity._replace(number=device.identity.number)

    def lose(self, state: State, reason: str) -> None:
        """The GPU is not there; its row stays."""
        self.device = None
        self.absent = GpuReading(self.identity, state, reason)


def placed(found: list[Found], before: Iterable[Slot]) -> tuple[Slot, ...]:
    """All that was `before` and all that was found, in the order of the bus."""
    slots = {slot.key: slot for slot in before}
    missing = dict(slots)
    for device in found:
        if isinstance(device, Device):
            identity = device.identity
            key = identity.uuid or identity.pci_bus_id or f"index {identity.number}"
            slot = slots.setdefault(key, Slot(key, identity))
            slot.take(device)
        else:
            index, error = device
            slot = _slot_at(index, missing) or Slot(f"index {index}", Identity(index))
            slots[slot.key] = slot
            slot.lose("lost" if error.code in LOST else "error", str(error))
        missing.pop(slot.key, None)
    for slot in missing.values():
        if slot.key.startswith("index "):  # a stand-in for one that has its name by now
            del slots[slot.key]
        else:
            slot.lose("lost", words(GPU_NOT_FOUND))
    return tuple(_in_order(slots.values()))


def _slot_at(index: int, slots: dict[str, Slot]) -> Slot | None:
    """The slot that had this index before."""
    for slot in slots.values():
        if slot.identity.number == index:
            return slot
    return None


def _in_order(slots: Iterable[Slot]) -> Iterator[Slot]:
    """By place on the bus, as NVML counts; one whose place is not known comes by its index."""
    placed = sorted(slots, key=lambda slot: (slot.identity.pci_bus_id or "~", slot.identity.number))
    unplaced = [slot for slot in placed if slot.identity.pci_bus_id is None]
    for slot in placed:
        while unplaced and (slot in unplaced or slot.identity.number > unplaced[0].identity.number):
            yield unplaced.pop(0)
        if slot.identity.pci_bus_id is not None:
            yield slot
