"""How busy the MIG slices of one GPU are, by the performance counters of their GPU instances.

The divided GPU itself is not measured: no source says what a sample of it would mean.
"""

from collections.abc import Sequence

from gpu_monitor.collector.gpu.gpm_samples import InstanceMeter
from gpu_monitor.collector.gpu.mig import MigSlice
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries


class MigUtilization:
    """Measures the slices of one GPU again and again; for one thread at a time.

    A slice is identified by its UUID and its GPU instance, because ids of instances are reused.
    """

    def __init__(self, gpu: Handle) -> None:
        self._gpu = gpu
        self._queries = Queries()
        self._has_gpm: bool | None = None
        self._meters: dict[tuple[str | None, int], InstanceMeter] = {}

    def measure(self, slices: Sequence[MigSlice], now: float) -> None:
        """Set each slice's utilization since the previous call; `now` is in monotonic seconds.

        Slices that share a GPU instance keep none: its counters are those of all of them.
        """
        alone = _alone(slices)
        if not alone or not self._is_supported():
            alone = {}
        for key in self._meters.keys() - alone.keys():
            self._meters.pop(key).close()
        for key, piece in alone.items():
            if key not in self._meters:
                self._meters[key] = InstanceMeter(self._gpu, key[1])
            piece.set_utilization(self._meters[key].measure(now))

    def close(self) -> None:
        """Free NVML's buffers, before NVML is shut down or when the GPU is reopened."""
        while self._meters:
            self._meters.popitem()[1].close()

    def _is_supported(self) -> bool:
        """Asked until the GPU has answered."""
        if self._has_gpm is None:
            self._has_gpm = self._queries.query(self._gpu.has_gpm)
        return bool(self._has_gpm)


def _alone(slices: Sequence[MigSlice]) -> dict[tuple[str | None, int], MigSlice]:
    """The slices with a GPU instance of their own, by UUID and instance.

    None of them while one slice's instance is not known, because it may be any.
    """
    instances = [piece.instance for piece in slices]
    if None in instances:
        return {}
    return {
        (piece.identity.uuid, piece.instance): piece
        for piece in slices
        if piece.instance is not None and instances.count(piece.instance) == 1
    }
