"""The finder: hosts that have the wanted GPUs free now, best fit first; pure."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

MIB_PER_GIB = 1024
_PASTABLE = re.compile(r"[A-Za-z0-9/._-]+")
"""A UUID of this form means the same to a shell, to CUDA and in a list between commas."""


@dataclass(frozen=True)
class Wanted:
    """`gpus` GPUs on one host, each with at least `memory_gib` free and `model` in its name."""

    gpus: int = 1
    memory_gib: float = 0.0
    model: str = ""


@dataclass(frozen=True)
class FreeGpu:
    """A free GPU or MIG slice. `memory_free_mib` is None if the driver does not report it.

    `device` is its name for CUDA_VISIBLE_DEVICES: its UUID, or its index where it has none of its
    own that is safe to paste; None for such a slice, which has no other name. `parent` is the row
    of a slice's GPU; the slice's index counts within that GPU. `unhealthy` means that the card has
    known problems.
    """

    index: int
    uuid: str | None
    device: str | None
    name: str | None
    memory_free_mib: int | None
    parent: int | None = None
    mig_profile: str | None = None
    unhealthy: bool = False

    def fits(self, wanted: Wanted) -> bool:
        """Whether model and memory match; unknown memory is never enough.

        A process can use one MIG slice and no other GPU (MIG User Guide, CUDA Device
        Enumeration), so slices match only requests for a single GPU.
        """
        if self.device is None or (self.parent is not None and wanted.gpus > 1):
            return False
        if wanted.model.casefold() not in (self.name or "").casefold():
            return False
        if not wanted.memory_gib:
            return True
        free = self.memory_free_mib
        return free is not None and free >= wanted.memory_gib * MIB_PER_GIB


@dataclass(frozen=True)
class Offer:
    """GPUs on `host`; `left_over` of its free GPUs remain free."""

    host: str
    gpus: tuple[FreeGpu, ...]
    left_over: int

    @property
    def devices(self) -> str:
        """A value for CUDA_VISIBLE_DEVICES."""
        return ",".join(gpu.device or "" for gpu in self.gpus)

    @property
    def unhealthy(self) -> bool:
        """Whether one of them has known problems."""
        return any(gpu.unhealthy for gpu in self.gpus)


def find_offers(hosts: dict[str, Any], wanted: Wanted) -> list[Offer]:
    """An offer from each live host that can make one.

    Hosts with the fewest free GPUs left over come first, so that empty hosts stay empty; ties are
    sorted by name. On each host, GPUs with the least free memory are chosen first and unhealthy
    ones last; offers that include an unhealthy GPU come last. Free is what the broker calls free:
    a MIG slice can be, its parent cannot.
    """
    offers = []
    for name, host in hosts.items():
        if host["state"] != "live":
            continue
        free = free_gpus(host.get("gpus", {}))
        fitting = sorted((gpu for gpu in free if gpu.fits(wanted)), key=_tightest_first)
        if len(fitting) >= wanted.gpus:
            chosen = tuple(sorted(fitting[: wanted.gpus], key=lambda gpu: gpu.index))
            offers.append(Offer(name, chosen, len(free) - wanted.gpus))
    return sorted(offers, key=lambda offer: (offer.unhealthy, offer.left_over, offer.host))


def free_gpus(gpus: dict[str, list[Any]]) -> list[FreeGpu]:
    """The rows of a host's `gpus` whose use is free, in order.

    Memory that is a NUMA node keeps pages in use when a job ends: what no process holds is free.
    """
    free = []
    counts = Counter(gpus.get("uuid", ()))
    for row, use in enumerate(gpus.get("use", ())):
        if use == "free":
            total, used = _cell(gpus, "memory_total_mib", row), _cell(gpus, "memory_used_mib", row)
            if _cell(gpus, "memory_kind", row) == "numa":
                used = _cell(gpus, "process_memory_mib", row)
            memory = None if total is None or used is None else total - used
            index, uuid, name, parent, profile = (
                _cell(gpus, key, row) for key in ("index", "uuid", "name", "parent", "mig_profile")
            )
            unhealthy = bool(_cell(gpus, "health_reasons", row if parent is None else parent))
            own = uuid if counts[uuid] == 1 and _PASTABLE.fullmatch(uuid or "") else None
            device = own or (str(index) if parent is None else None)
            free.append(FreeGpu(index, uuid, device, name, memory, parent, profile, unhealthy))
    return free


def _cell(gpus: dict[str, list[Any]], column: str, row: int) -> Any:
    return gpus[column][row] if column in gpus else None


def _tightest_first(gpu: FreeGpu) -> tuple[bool, float, int]:
    memory = gpu.memory_free_mib
    return (gpu.unhealthy, float("inf") if memory is None else memory, gpu.index)
