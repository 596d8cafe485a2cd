"""The GPUs of the picture: each keeps its place there, whatever becomes of it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.memory_health import Health
from gpu_monitor.collector.gpu.nvml_errors import GPU_NOT_FOUND, LOST, NvmlError, words
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, State
from gpu_monitor.collector.gpu.sleep import Sleep, asleep
from gpu_monitor.collector.gpu.xid import Xids

Found: TypeAlias = "Device | tuple[int, NvmlError | Sleep]"
"""A GPU that was opened, or the index of one that was not, and why: an error, or it sleeps."""


class Timed(NamedTuple):
    """A reading and when it began, in monotonic seconds."""

    reading: GpuReading
    at: float


class Slot:
    """A GPU's place in the picture, kept when the GPU is gone.

    `key` is its UUID, or its bus id or index where NVML would not say or was not asked. `absent` is
    what to show while there is no `device`. With `sleep` it is opened when it is awake; `unopened`
    means that this failed. `xids` are the critical errors that were heard of it.
    """

    def __init__(self, key: str, identity: Identity) -> None:
        self.key = key
        self.identity = identity
        self.device: Device | None = None
        self.absent: GpuReading | None = None
        self.sleep: Sleep | None = None
        self.latest: Timed | None = None
        self.unopened = False
        self.xids = Xids()
        self._health = Health()
        self._trace = Trace()

    @property
    def trace(self) -> Trace:
        """Names the call that a reading is in."""
        return self._trace if self.device is None else self.device.trace

    def health_reasons(self, now: float) -> tuple[str, ...]:
        """What is known to be wrong with the GPU, whether it answers now or not."""
        return (*self.xids.words(now), *self._health.words)

    def has_failed(self, now: float) -> bool:
        """Whether one of these reasons means that the GPU has failed."""
        return self._health.failed or self.xids.has_failed(now)

    def read(self, now: float) -> None:
        """Read the GPU into `latest`; blocks as long as the driver does."""
        device = self.device or self._open(now)
        if device is None:
            return
        reading = device.read(now)
        if self.device is device:  # else it was opened anew while this call hung
            self.identity = device.identity
            self.latest = Timed(reading, now)

    def _open(self, now: float) -> Device | None:
        """Opens a GPU that slept and is awake."""
        sleep = self.sleep
        if sleep is None or sleep.pci_bus_id is None or sleep.now(now):
            return None
        self.absent = None
        try:
            device = Device.at(sleep.pci_bus_id, self._trace, sleep.folder)
        except NvmlError as error:
            if self.sleep is sleep:
                self.fail(error)
            return None
        if self.sleep is not sleep:  # it was opened anew while this call hung
            return None
        self.take(device)
        return device

    def take(self, device: Device) -> None:
        """The GPU is there, as `device`."""
        device.health = self._health
        self.device, self.absent, self.sleep, self.latest = device, None, None, None
        self.unopened = False
        self.identity = self.identity._replace(number=device.identity.number)

    def lose(self, state: State, reason: str) -> None:
        """The GPU is not there; its row stays."""
        self.device = self.sleep = None
        self.unopened = False
        self.absent = GpuReading(self.identity, state, reason)

    def fail(self, error: NvmlError) -> None:
        """The GPU could not be opened."""
        self.lose("lost" if error.code in LOST else "error", str(error))
        self.unopened = True

    def rest(self, number: int, sleep: Sleep) -> None:
        """The GPU sleeps, and is not opened."""
        self.unopened = False
        known = self.absent or (self.latest and self.latest.reading) or GpuReading(self.identity)
        self.identity = self.identity._replace(number=number)
        self.device, self.sleep = None, sleep
        self.absent = asleep(self.identity, known)


def placed(found: list[Found], before: Iterable[Slot]) -> tuple[Slot, ...]:
    """All that was `before` and all that was found, in the order of the bus."""
    slots = {slot.key: slot for slot in before}
    missing = dict(slots)
    for each in found:
        slot = _filled(each, slots, missing)
        missing.pop(slot.key, None)
    for slot in missing.values():
        if slot.key.startswith("index "):  # a stand-in for one that has its name by now
            del slots[slot.key]
        else:
            slot.lose("lost", words(GPU_NOT_FOUND))
    return tuple(_in_order(slots.values()))


def _filled(found: Found, slots: dict[str, Slot], missing: dict[str, Slot]) -> Slot:
    """The slot in `slots` that is this GPU's from now on."""
    if isinstance(found, Device):
        slot = _slot_of(found.identity, slots)
        slot.take(found)
        return slot
    index, why = found
    if isinstance(why, Sleep):
        slot = _slot_of(Identity(index, pci_bus_id=why.pci_bus_id), slots)
        slot.rest(index, why)
        return slot
    slot = _slot_at(index, missing) or Slot(f"index {index}", Identity(index))
    slots[slot.key] = slot
    slot.fail(why)
    return slot


def _slot_of(gpu: Identity, slots: dict[str, Slot]) -> Slot:
    """The one with its UUID, or where one of them is not known with its place; or a new one."""
    for slot in slots.values():
        known = slot.identity
        if gpu.uuid and known.uuid:
            if gpu.uuid == known.uuid:
                return slot
        elif gpu.pci_bus_id and gpu.pci_bus_id == known.pci_bus_id:
            return slot
    key = gpu.uuid or gpu.pci_bus_id or f"index {gpu.number}"
    return slots.setdefault(key, Slot(key, gpu))


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
