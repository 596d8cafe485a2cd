"""Which hosts have the wanted GPUs free now, best fit first; pure."""

from dataclasses import dataclass
from typing import Any

MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Wanted:
    """`gpus` on one host, each with at least `memory_gib` free and `model` in its name."""

    gpus: int = 1
    memory_gib: float = 0.0
    model: str = ""


@dataclass(frozen=True)
class FreeGpu:
    """One free GPU or MIG slice; `memory_free_mib` is None where the driver does not say.

    A slice has the row of its GPU as `parent`, and its index is the one within that GPU.
    `unhealthy`: something is known to be wrong with the card.
    """

    index: int
    uuid: str | None
    name: str | None
    memory_free_mib: int | None
    parent: int | None = None
    mig_profile: str | None = None
    unhealthy: bool = False

    def fits(self, wanted: Wanted) -> bool:
        """Whether it is of the model and has the memory; unknown memory is never enough.

        A process can use one MIG slice and no other GPU beside it (MIG User Guide, CUDA Device
        Enumeration): slices are only for who wants one.
        """
        if self.parent is not None and wanted.gpus > 1:
            return False
        if wanted.model.casefold() not in (self.name or "").casefold():
            return False
        if not wanted.memory_gib:
            return True
        free = self.memory_free_mib
        return free is not None and free >= wanted.memory_gib * MIB_PER_GIB


@dataclass(frozen=True)
class Offer:
    """The GPUs to take on `host`; `left_over` of its free GPUs stay free."""

    host: str
    gpus: tuple[FreeGpu, ...]
    left_over: int

    @property
    def devices(self) -> str:
        """A value for CUDA_VISIBLE_DEVICES; a GPU without a UUID goes by its index."""
        return ",".join(gpu.uuid or str(gpu.index) for gpu in self.gpus)

    @property
    def unhealthy(self) -> bool:
        """Whether something is known to be wrong with one of them."""
        return any(gpu.unhealthy for gpu in self.gpus)


def find(hosts: dict[str, Any], wanted: Wanted) -> list[Offer]:
    """The live hosts that have what is wanted: fewest free GPUs left over first, then by name.

    So whole hosts stay whole. Of a host's fitting GPUs those with the least free memory are
    taken first. One that ails is taken last, and a host that has no others comes last. Free is
    what the broker calls free: a MIG slice may be, its parent is not.
    """
    offers = []
    for name, host in hosts.items():
        if host["state"] != "live":
            continue
        free = free_gpus(host.get("gpus", {}))
        fitting = sorted((gpu for gpu in free if gpu.fits(wanted)), key=_tightest_first)
        if len(fitting) >= wanted.gpus:
            taken = tuple(sorted(fitting[: wanted.gpus], key=lambda gpu: gpu.index))
            offers.append(Offer(name, taken, len(free) - wanted.gpus))
    return sorted(offers, key=lambda offer: (offer.unhealthy, offer.left_over, offer.host))


def free_gpus(gpus: dict[str, list[Any]]) -> list[FreeGpu]:
    """The rows of a host's `gpus` whose use is free, in their order."""
    free = []
    for row, use in enumerate(gpus.get("use", ())):
        if use == "free":
            total, used = _cell(gpus, "memory_total_mib", row), _cell(gpus, "memory_used_mib", row)
            memory = None if total is None or used is None else total - used
            index, uuid, name, parent, profile = (
                _cell(gpus, key, row) for key in ("index", "uuid", "name", "parent", "mig_profile")
            )
            unhealthy = bool(_cell(gpus, "health_reasons", row if parent is None else parent))
            free.append(FreeGpu(index, uuid, name, memory, parent, profile, unhealthy))
    return free


def _cell(gpus: dict[str, list[Any]], column: str, row: int) -> Any:
    return gpus[column][row] if column in gpus else None


def _tightest_first(gpu: FreeGpu) -> tuple[bool, float, int]:
    memory = gpu.memory_free_mib
    return (gpu.unhealthy, float("inf") if memory is None else memory, gpu.index)
