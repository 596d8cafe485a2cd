"""How busy MIG slices are, from NVML's performance counters of GPU instances (GPM).

NVML's reference has them for Hopper and newer: one sample holds the counters of a GPU instance,
two give the metrics of the time between. DCGM (DcgmGpmManager.cpp) reads slices by the handle of
the GPU they are cut from and the instance's id, calls what it gets a sum over the compute
instances, and takes NaN for no value. Its maintainers hold samples less than 100 ms apart for
invalid (DCGM#310). Of a divided GPU itself no source tells what its own sample would mean.
"""

from collections.abc import Sequence

from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.gpm_samples import Sample, free_dropped, graphics_percent
from gpu_monitor.collector.gpu.mig import Slice
from gpu_monitor.collector.gpu.nvml import Handle
from gpu_monitor.collector.gpu.queries import Questions, Trace

LONGEST_SECONDS = 900.0
"""More than any `interval`: a mean over a longer time, as after a hang, tells nothing of now."""


class Gpm:
    """Measures the slices of one GPU again and again; used by one thread at a time.

    A slice is known by its UUID and its GPU instance, for the ids of instances are used anew.
    """

    def __init__(self, handle: Handle, trace: Trace) -> None:
        self._handle = handle
        self._trace = trace
        self._questions = Questions(handle, trace)
        self._supported: bool | None = None
        self._meters: dict[tuple[str | None, int], Meter] = {}

    def measure(self, slices: Sequence[Slice], now: float) -> None:
        """Tells each slice how busy it was since the call before; `now` in monotonic seconds.

        Slices that share a GPU instance are told nothing, for its counters are those of them all.
        """
        alone = _alone(slices)
        if not alone or not self._is_supported():
            alone = {}
        for key in self._meters.keys() - alone.keys():
            del self._meters[key]
        self._questions.ask("free", "nvmlGpmSampleFree", free_dropped)
        for key, piece in alone.items():
            if key not in self._meters:
                self._meters[key] = Meter(self._handle, key[1], self._trace)
            piece.measured(self._meters[key].read(now))

    def _is_supported(self) -> bool:
        if self._supported is None:
            name = "nvmlGpmQueryDeviceSupport"
            self._supported = self._questions.ask("gpm", name, self._handle.has_counters)
        return bool(self._supported)


class Meter:
    """Measures one GPU instance with two samples: the older one is filled anew each time."""

    def __init__(self, handle: Handle, instance: int, trace: Trace) -> None:
        self._handle = handle
        self._instance = instance
        self._questions = Questions(handle, trace)
        self._latest: Sample | None = None
        self._spare: Sample | None = None
        self._latest_at = 0.0

    def read(self, now: float) -> int | None:
        """Percent of the time since the last sample in which a kernel ran; None the first time."""
        ask = self._questions.ask
        self._spare = self._spare or ask("room", "nvmlGpmSampleAlloc", Sample)
        if self._spare is None:
            return None
        name = "nvmlGpmMigSampleGet"
        sample = ask("sample", name, self._handle.sample, self._instance, self._spare)
        if sample is None:
            return None
        before, before_at = self._latest, self._latest_at
        self._latest, self._latest_at, self._spare = sample, now, before
        if before is None or now - before_at > LONGEST_SECONDS:
            return None
        return plausible.busy(ask("metric", "nvmlGpmMetricsGet", graphics_percent, before, sample))


def _alone(slices: Sequence[Slice]) -> dict[tuple[str | None, int], Slice]:
    """The slices that have a GPU instance for themselves, by UUID and instance.

    None while the instance of one is not known, for that may be any.
    """
    instances = [piece.instance for piece in slices]
    if None in instances:
        return {}
    return {
        (piece.identity.uuid, piece.instance): piece
        for piece in slices
        if piece.instance is not None and instances.count(piece.instance) == 1
    }
