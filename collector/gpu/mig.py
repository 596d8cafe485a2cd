"""MIG slices: each has a row of its own under the GPU that it is cut from."""

import re
from collections.abc import Iterable

from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.plausible import memory_bytes
from gpu_monitor.collector.gpu.processes import (
    HIDDEN_PID,
    ListedProcess,
    ProcessLists,
    merge_by_pid,
)
from gpu_monitor.collector.gpu.queries import Queries
from gpu_monitor.collector.gpu.readings import GpuReading, Identity

_PROFILE = re.compile(r"MIG (\S+)")


class MigSlice:
    """One MIG slice: its identity is read once, its memory and processes each time.

    Its utilization is measured elsewhere (mig_utilization), less often, and set from there.
    `instance` is the GPU instance it belongs to, None where that could not be read.
    """

    def __init__(self, index: int, handle: Handle) -> None:
        self._handle = handle
        self._queries = Queries()
        self._lists = ProcessLists(handle, self._queries)
        query = self._queries.query
        name = query(handle.name)
        self.identity = Identity(
            number=index,
            uuid=query(handle.uuid),
            name=name,
            mig_profile=_profile(name, query(handle.slice_size)),
        )
        self.instance = query(handle.gpu_instance)
        self._utilization: int | None = None
        self._carried = False

    def set_utilization(self, percent: int | None) -> None:
        """Percent of the time in which a kernel ran, shown until the next call; None: unknown."""
        self._utilization, self._carried = percent, False

    def read(self, by_gpu: Iterable[ListedProcess], now: float) -> GpuReading:
        """A reading; `by_gpu` are the processes on this slice by the whole GPU's lists.

        `now` in monotonic seconds.

        The whole GPU shows the processes of its slices to privileged users only, a slice to all.
        """
        entries = self._lists.query(now)
        if entries:  # or a process whose pid is hidden would be there twice
            by_gpu = [entry for entry in by_gpu if entry.pid != HIDDEN_PID]
        total, used = memory_bytes(self._queries.query(self._handle.memory))
        carried, self._carried = self._carried, self._utilization is not None
        return GpuReading(
            self.identity,
            memory_kind=None if total is None else "device",
            memory_total_bytes=total,
            memory_used_bytes=used,
            utilization_percent=self._utilization,
            uses=merge_by_pid([*by_gpu, *entries], total),
            uses_unread=self._lists.failure(is_divided=True),
            carried=carried,
        )


def _profile(name: str | None, size: tuple[int, int, int] | None) -> str | None:
    """Like `1g.10gb`: the end of the name on newer drivers, else made from the slice's size."""
    if name is not None and (found := _PROFILE.search(name)):
        return found[1]
    if size is None:
        return None
    compute, gpu, mib = size
    profile = f"{gpu}g.{round(mib / 1024)}gb"
    return profile if compute == gpu else f"{compute}c.{profile}"
