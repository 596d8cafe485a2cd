"""The GPUs in the order in which they are shown: each keeps its row, whatever happens to it."""

import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.links import Links
from gpu_monitor.collector.gpu.memory_health import MemoryHealth
from gpu_monitor.collector.gpu.nvml_errors import (
    FATAL,
    GPU_NOT_FOUND,
    LOST,
    UNKNOWN,
    InternalError,
    NvmlError,
    words,
    words_unopened,
)
from gpu_monitor.collector.gpu.pci import PciPower, asleep_reading
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, State
from gpu_monitor.collector.gpu.recent_users import RecentUsers
from gpu_monitor.collector.gpu.xid import XidLog

Found: TypeAlias = "Device | tuple[int, NvmlError | PciPower]"
"""A GPU that was opened, or the index of one that was not and why: an error, or it is asleep."""


class TimedReading(NamedTuple):
    """A reading and when it began, in monotonic seconds."""

    reading: GpuReading
    at: float


class Slot:
    """A GPU's row, kept when the GPU is gone.

    `key` is its UUID, with the bus id where another GPU has the same one; or its bus id or index
    where NVML does not report a UUID or was not asked.
    While there is no `device`, `absent` is the reading to show. With `power` set the GPU is asleep
    and is opened once it is awake; `unopened` means that opening it has failed.
    """

    def __init__(self, key: str, identity: Identity) -> None:
        self.key = key
        self.identity = identity
        self.device: Device | None = None
        self.absent: GpuReading | None = None
        self.power: PciPower | None = None
        self.latest: TimedReading | None = None
        self.unopened = False
        self._unopened_by: NvmlError | None = None
        self._users = RecentUsers()
        self.xids = XidLog(users=self._users.uids)
        self._health = MemoryHealth()
        self._links = Links()
        self._trace = Trace()
        self._lock = threading.Lock()
        self._being_read: Device | None = None
        self._was_down = False

    @property
    def trace(self) -> Trace:
        """Names the NVML call that a reading is in."""
        return self._trace if self.device is None else self.device.trace

    def health_findings(self, now: float) -> tuple[Finding, ...]:
        """What is known to be wrong with the GPU, whether it answers now or not."""
        return (*self.xids.findings(now), *self._health.findings)

    @property
    def link_findings(self) -> tuple[Finding, ...]:
        """What is known to be wrong with its links, as long as it answers."""
        return self._links.findings

    def refresh(self, now: float) -> None:
        """Read the GPU into `latest`; blocks for as long as the driver does."""
        device = self.device or self._opened_if_awake(now)
        with self._lock:
            if device is None or device is not self.device:
                return
            self._being_read = device
        needed_recovery = self._health.needs_recovery
        try:
            reading = device.read(now)
        finally:
            with self._lock:
                self._being_read = None
                is_current = self.device is device
        if is_current:
            self.identity = device.identity
            self.latest = TimedReading(reading, now)
            self._users.update(_pids(reading), now)
            self._notice_reset(device, reading.state == "ok", needed_recovery)
        else:  # it was reopened while this call hung
            device.close()

    def _notice_reset(self, device: Device, is_ok: bool, needed_recovery: bool) -> None:
        """A GPU that answers again after it was down was reset, reloaded or repaired."""
        if device.failure is not None and device.failure.code in FATAL:
            self._was_down = True
        recovered = needed_recovery and not self._health.needs_recovery
        if is_ok and (self._was_down or recovered):
            self._was_down = False
            self.xids.mark_reset()

    def _opened_if_awake(self, now: float) -> Device | None:
        power = self.power
        if power is None or power.pci_bus_id is None or power.is_asleep(now):
            return None
        self.absent = None
        try:
            device = Device.at(power.pci_bus_id, self._trace, power.folder)
        except NvmlError as error:
            if self.power is power:
                self.mark_unopened(error)
            return None
        if self.power is not power:  # it was reopened while this call hung
            return None
        self.attach(device)
        self._trace = Trace()  # the other one is the device's now
        return device

    def attach(self, device: Device) -> None:
        """The GPU is there, as `device`."""
        device.health, device.links = self._health, self._links
        self._replace_device(device)
        self.absent, self.power, self.latest = None, None, None
        self.unopened = False
        known, found = self.identity, device.identity
        place = found.pci_bus_id or known.pci_bus_id
        self.identity = known._replace(number=found.number, pci_bus_id=place)

    def mark_absent(self, state: State, reason: str) -> None:
        """The GPU is not there; its row stays."""
        self._replace_device(None)
        self.power = None
        self.unopened = False
        self.absent = GpuReading(self.identity, state, reason)
        self._was_down = self._was_down or state == "lost"

    def mark_unopened(self, error: NvmlError) -> None:
        """The GPU could not be opened."""
        is_lost = error.code in LOST or error.code == UNKNOWN
        is_ours = isinstance(error, InternalError)
        reason = str(error) if is_ours else words_unopened(error.code)
        self.mark_absent("lost" if is_lost else "error", reason)
        self.unopened = True
        self._unopened_by = error

    def faults(self) -> list[str]:
        """What cannot be read because of a fault of ours or of nvidia-ml-py, in words."""
        if self.device is not None:
            return self.device.faults()
        is_fault = self.unopened and isinstance(self._unopened_by, InternalError)
        return [str(self._unopened_by)] if is_fault else []

    def set_place(self, pci_bus_id: str) -> None:
        """The place of a GPU that could not be opened is known from elsewhere."""
        self.identity = self.identity._replace(pci_bus_id=pci_bus_id)
        if self.absent is not None:
            self.absent = self.absent._replace(identity=self.identity)

    def mark_asleep(self, number: int, power: PciPower) -> None:
        """The GPU is asleep, and is not opened."""
        self.unopened = False
        known = self.absent or (self.latest and self.latest.reading) or GpuReading(self.identity)
        self.identity = self.identity._replace(number=number)
        self._replace_device(None)
        self.power = power
        self.absent = asleep_reading(self.identity, known)

    def close(self) -> None:
        """Free NVML's buffers; no thread may be reading this GPU."""
        if self.device is not None:
            self.device.close()

    def _replace_device(self, device: Device | None) -> None:
        """A thread that still hangs in a reading of the old one closes it on its return."""
        with self._lock:
            old, self.device = self.device, device
            is_free = old is not self._being_read
        if old is not None and is_free:
            old.close()


def _pids(reading: GpuReading) -> set[int]:
    """The processes on a GPU and its slices."""
    return {use.pid for each in (reading, *reading.slices) for use in each.uses}


def arrange(
    found: list[Found], before: Iterable[Slot], places: Iterable[str] = ()
) -> tuple[Slot, ...]:
    """All slots from `before` and those of all GPUs found now, in the order of the bus.

    A GPU in whose place another one is found has been replaced: its slot is dropped. `places` are
    the bus ids of the kernel module's GPUs.
    """
    slots = {slot.key: slot for slot in before}
    missing = dict(slots)
    for each in found:
        slot = _updated_slot(each, slots, missing)
        missing.pop(slot.key, None)
    taken = {slot.identity.pci_bus_id for slot in slots.values() if slot.key not in missing}
    for slot in missing.values():
        slot.mark_absent("lost", words(GPU_NOT_FOUND))
        is_replaced = slot.identity.pci_bus_id in taken - {None}
        if is_replaced or slot.key.startswith("index "):  # of a GPU whose UUID is known by now
            del slots[slot.key]
    _place_unopened(slots.values(), places)
    return tuple(_in_order(slots.values()))


def _place_unopened(slots: Iterable[Slot], places: Iterable[str]) -> None:
    """GPUs that could not be opened are where no other GPU is, if that is as many places."""
    unplaced = [slot for slot in slots if slot.unopened and slot.identity.pci_bus_id is None]
    taken = {slot.identity.pci_bus_id for slot in slots}
    left = [place for place in places if place not in taken]
    if len(left) == len(unplaced):
        for slot, place in zip(unplaced, left, strict=True):
            slot.set_place(place)


def _updated_slot(found: Found, slots: dict[str, Slot], missing: dict[str, Slot]) -> Slot:
    """The slot of this GPU among `slots`, a new one if need be, brought up to date."""
    if isinstance(found, Device):
        slot = _slot_of(found.identity, slots, missing)
        slot.attach(found)
        return slot
    index, why = found
    if isinstance(why, PciPower):
        slot = _slot_of(Identity(index, pci_bus_id=why.pci_bus_id), slots, missing)
        slot.mark_asleep(index, why)
        return slot
    slot = _slot_at(index, missing) or Slot(f"index {index}", Identity(index))
    slots[slot.key] = slot
    slot.mark_unopened(why)
    return slot


def _slot_of(gpu: Identity, slots: dict[str, Slot], missing: dict[str, Slot]) -> Slot:
    """The slot among `missing` of this UUID and place, else of this UUID, else of this place where
    a UUID is not known; or a new one."""
    by_uuid = [slot for slot in missing.values() if gpu.uuid and gpu.uuid == slot.identity.uuid]
    by_place = [
        slot
        for slot in missing.values()
        if gpu.pci_bus_id and gpu.pci_bus_id == slot.identity.pci_bus_id
    ]
    unnamed = [slot for slot in by_place if not (gpu.uuid and slot.identity.uuid)]
    for slot in (*(each for each in by_uuid if each in by_place), *by_uuid, *unnamed):
        return slot
    key = gpu.uuid or gpu.pci_bus_id or f"index {gpu.number}"
    if key in slots:
        key = f"{key} {gpu.pci_bus_id or gpu.number}"
    return slots.setdefault(key, Slot(key, gpu))


def _slot_at(index: int, slots: dict[str, Slot]) -> Slot | None:
    """The slot that had this index before."""
    for slot in slots.values():
        if slot.identity.number == index:
            return slot
    return None


def _in_order(slots: Iterable[Slot]) -> Iterator[Slot]:
    """By bus id, as NVML counts; a GPU whose bus id is not known is placed by its index."""
    ordered = sorted(
        slots, key=lambda slot: (slot.identity.pci_bus_id or "~", slot.identity.number)
    )
    unplaced = [slot for slot in ordered if slot.identity.pci_bus_id is None]
    for slot in ordered:
        while unplaced and (slot in unplaced or slot.identity.number > unplaced[0].identity.number):
            yield unplaced.pop(0)
        if slot.identity.pci_bus_id is not None:
            yield slot
