"""How much of its memory a GPU uses, and what kind of memory that is."""

from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.nvml_errors import NOT_SUPPORTED, UNSUPPORTED
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries
from gpu_monitor.collector.gpu.readings import GpuReading, MemoryKind
from gpu_monitor.collector.host.system import memory

_TOO_OLD = UNSUPPORTED - {NOT_SUPPORTED}
"""Answers of a driver that does not know a function."""


class DeviceMemory:
    """The memory of one GPU, as this opening of NVML knows it."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._own_kind: MemoryKind | None = None

    def read(self, queries: Queries) -> tuple[MemoryKind | None, int | None, int | None]:
        """Its kind, total and used bytes; used without the driver's reserve where it is known.

        A GPU that shares the host's memory does not support the query, or answers with a total of
        0 (Jetson Orin): the host's is returned.
        """
        answer = queries.query(self._handle.memory)
        code = 0 if answer else queries.failure_code("memory")
        if code in _TOO_OLD:
            answer = queries.query(self._handle.memory_with_reserve)
        if code == NOT_SUPPORTED or (answer and answer[0] == 0):
            return "unified", *_of_host()
        total, used = plausible.memory_bytes(answer)
        if total is None and used is None:
            return None, None, None
        return self._kind(queries), total, used

    def _kind(self, queries: Queries) -> MemoryKind:
        """Queried until it is answered. The memory of GH200 and GB200 is a NUMA node."""
        if self._own_kind is None:
            if queries.query(self._handle.numa_node) is not None:
                self._own_kind = "numa"
            elif queries.failure_code("numa_node") in UNSUPPORTED:
                self._own_kind = "device"
        return self._own_kind or "device"


def with_processes(reading: GpuReading) -> GpuReading:
    """The reading with the memory of its processes, where that in use does not tell what they hold.

    Slices have the kind of memory that their GPU has. Memory of the host in use is never less than
    that of the processes on the GPU.
    """
    if reading.memory_kind in (None, "device"):
        return reading
    slices = tuple(
        with_processes(piece._replace(memory_kind=piece.memory_kind and reading.memory_kind))
        for piece in reading.slices
    )
    reading = reading._replace(slices=slices)
    if reading.uses_unread is not None:
        return reading
    held = sum(use.memory_bytes or 0 for use in reading.uses)
    is_whole = not any(use.memory_bytes is None for use in reading.uses)
    used = reading.memory_used_bytes
    if reading.memory_kind == "unified" and held:
        used = max(used or 0, held)
    return reading._replace(
        memory_used_bytes=used,
        process_memory_bytes=held if is_whole and not slices else None,
    )


def _of_host() -> tuple[int | None, int | None]:
    """The host's memory: total and used bytes."""
    host = memory()
    total, used = host.get("memory_total_mib"), host.get("memory_used_mib")
    return total and total << 20, used and used << 20
