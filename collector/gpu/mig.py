"""MIG slices: rows of their own under the GPU they are cut from."""

import re
from collections.abc import Iterable

from gpu_monitor.collector.gpu.nvml import Handle
from gpu_monitor.collector.gpu.plausible import memory_bytes
from gpu_monitor.collector.gpu.processes import Listed, Lists, joined, unread
from gpu_monitor.collector.gpu.queries import Questions, Trace
from gpu_monitor.collector.gpu.readings import GpuReading, Identity

_PROFILE = re.compile(r"MIG (\S+)")


class Slice:
    """One MIG device; what it is was read once, memory and processes are read each time.

    How busy it is, is measured elsewhere (mig_utilization) and now and then: `measured` takes it.
    """

    def __init__(self, index: int, handle: Handle, trace: Trace) -> None:
        self._questions = Questions(handle, trace)
        self._lists = Lists(self._questions)
        ask = self._questions.ask
        name: str | None = ask("name", "nvmlDeviceGetName", handle.name)
        size = ask("size", "nvmlDeviceGetAttributes_v2", handle.instance_size)
        self.identity = Identity(
            number=index,
            uuid=ask("uuid", "nvmlDeviceGetUUID", handle.uuid),
            name=name,
            mig_profile=_profile(name, size),
        )
        self.instance: int | None = ask("instance", "nvmlDeviceGetGpuInstanceId", handle.instance)
        self._utilization: int | None = None
        self._carried = False

    def measured(self, percent: int | None) -> None:
        """So busy it is from now on; None is not known."""
        self._utilization, self._carried = percent, False

    def read(self, by_parent: Iterable[Listed]) -> GpuReading:
        """A reading; `by_parent` is what the whole GPU's lists say of this slice's instance.

        The whole GPU tells of its slices' processes to the privileged only, a slice to all.
        """
        entries = self._lists.read()
        total, used = memory_bytes(self._questions.number("memory"))
        carried, self._carried = self._carried, self._utilization is not None
        return GpuReading(
            self.identity,
            memory_kind=None if total is None else "device",
            memory_total_bytes=total,
            memory_used_bytes=used,
            utilization_percent=self._utilization,
            uses=joined([*by_parent, *entries]),
            uses_unread=unread(self._questions),
            carried=carried,
        )


def _profile(name: str | None, size: tuple[int, int, int] | None) -> str | None:
    """Like `1g.10gb`: from the name, which newer drivers end in it, else from the slice's size."""
    if name is not None and (found := _PROFILE.search(name)):
        return found[1]
    if size is None:
        return None
    compute, gpu, mib = size
    profile = f"{gpu}g.{round(mib / 1024)}gb"
    return profile if compute == gpu else f"{compute}c.{profile}"
