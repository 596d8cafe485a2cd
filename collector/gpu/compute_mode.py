"""Who may use a GPU, by the mode that its administrator set (nvidia-smi --compute-mode)."""

from gpu_monitor.collector.gpu.nvml_errors import UNSUPPORTED
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries

COMPUTE_MODE_SECONDS = 60.0
_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
"""nvmlComputeMode_t."""


class ComputeMode:
    """One GPU's mode, queried once a minute.

    `mode` is None where the GPU has none; a failed query leaves it as it was.
    """

    def __init__(self) -> None:
        self.mode: str | None = None
        self._polled_at: float | None = None

    def refresh_if_due(self, queries: Queries, handle: Handle, now: float) -> None:
        """Query NVML if a minute has passed; `now` is in monotonic seconds."""
        if self._polled_at is not None and now - self._polled_at < COMPUTE_MODE_SECONDS:
            return
        self._polled_at = now
        number = queries.query(handle.compute_mode)
        if number is not None:
            self.mode = _MODES.get(number, f"number {number}")
        elif queries.failure_code("compute_mode") in UNSUPPORTED:
            self.mode = None
