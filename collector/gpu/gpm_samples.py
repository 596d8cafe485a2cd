"""Performance counters (GPM) of a GPU instance: NVML's buffers, and the share of time between two.

NVML's reference has them for Hopper and newer: one sample holds the counters of a GPU instance,
two give the metrics of the time between. DCGM (DcgmGpmManager.cpp) reads slices by the handle of
the GPU they are cut from and the instance's id, calls what it gets a sum over the compute
instances, and treats NaN as no value. Its maintainers consider samples less than 100 ms apart
invalid (DCGM#310).
"""

import contextlib
from typing import Any

import pynvml

from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.nvml_errors import UNKNOWN, NvmlError
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries

MAX_GPM_SECONDS = 900.0
"""More than any `interval`: a mean over a longer time, as after a hang, says nothing about now."""


class GpmSample:
    """A buffer of NVML's for the counters of one GPU instance.

    Close it before NVML is shut down, and never while a thread may be in a call that uses it.
    """

    def __init__(self, gpu: Handle) -> None:
        self._gpu = gpu
        self._buffer = gpu.trace.call(pynvml.nvmlGpmSampleAlloc)

    def fill(self, instance: int) -> "GpmSample":
        """This sample, with the counters that one of the GPU's instances has now; NvmlError."""
        call, gpu = self._gpu.trace.call, self._gpu.pointer
        call(pynvml.nvmlGpmMigSampleGet, gpu, instance, self._buffer)
        return self

    def busy_percent_since(self, before: "GpmSample") -> float:
        """Percent of the time since `before` in which a kernel ran (graphics or compute engine).

        It may be NaN or out of range. NvmlError.
        """
        request: Any = pynvml.c_nvmlGpmMetricsGet_t()
        request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = 1
        request.sample1, request.sample2 = before._buffer, self._buffer
        metric = request.metrics[0]
        metric.metricId = pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL
        metric.nvmlReturn = UNKNOWN  # until NVML writes another
        self._gpu.trace.call(pynvml.nvmlGpmMetricsGet, request)
        if metric.nvmlReturn:
            raise NvmlError(int(metric.nvmlReturn), pynvml.nvmlGpmMetricsGet.__name__)
        return float(metric.value)

    def close(self) -> None:
        """Free the buffer; the sample cannot be used any more."""
        with contextlib.suppress(NvmlError):
            self._gpu.trace.call(pynvml.nvmlGpmSampleFree, self._buffer)


class InstanceMeter:
    """Measures one GPU instance again and again, with two samples that are filled in turn."""

    def __init__(self, gpu: Handle, instance: int) -> None:
        self._gpu = gpu
        self._instance = instance
        self._queries = Queries()
        self._latest: GpmSample | None = None
        self._spare: GpmSample | None = None
        self._latest_at = 0.0

    def measure(self, now: float) -> int | None:
        """Percent of the time since the last sample in which a kernel ran.

        `now` is in monotonic seconds. None for the first sample, and where NVML gives no value.
        """
        query = self._queries.query
        self._spare = self._spare or query(GpmSample, self._gpu)
        if self._spare is None or query(self._spare.fill, self._instance) is None:
            return None
        sample, before, before_at = self._spare, self._latest, self._latest_at
        self._latest, self._latest_at, self._spare = sample, now, before
        if before is None or now - before_at > MAX_GPM_SECONDS:
            return None
        return plausible.busy(query(sample.busy_percent_since, before))

    def close(self) -> None:
        """Free the samples; the meter cannot be used any more."""
        for sample in (self._latest, self._spare):
            if sample is not None:
                sample.close()
