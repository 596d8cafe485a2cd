"""The order in which the GPUs of a host are shown: each keeps its row, whatever happens to it."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.nvml_errors import GPU_NOT_FOUND, NvmlError, words
from gpu_monitor.collector.gpu.pci import PciPower
from gpu_monitor.collector.gpu.readings import Identity
from gpu_monitor.collector.gpu.slots import Slot

Found: TypeAlias = "Device | tuple[int, NvmlError | PciPower]"
"""A GPU that was opened, or the index of one that was not and why: an error, or it is asleep."""


def arrange(
    found: list[Found],
    before: Iterable[Slot],
    places: Iterable[str] = (),
    is_complete: bool = True,
) -> tuple[Slot, ...]:
    """All slots from `before` and those of all GPUs found now, in the order of the bus.

    A GPU in whose place another one is found has been replaced: its slot is dropped. `places` are
    the bus ids of the kernel module's GPUs. Unless `is_complete`, more GPUs are still being opened:
    the other slots stay as they are.
    """
    slots = {slot.key: slot for slot in before}
    missing = dict(slots)
    for each in found:
        slot = _updated_slot(each, slots, missing)
        missing.pop(slot.key, None)
    if not is_complete:
        return tuple(_in_order(slots.values()))
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
