"""NVML's memory for performance counters (GPM), and what two samples of them tell."""

import contextlib
from typing import Any

import pynvml

from gpu_monitor.collector.gpu.calls import asked
from gpu_monitor.collector.gpu.nvml_errors import UNINITIALIZED, UNKNOWN, NvmlError

_samples: dict[int, Any] = {}
_dropped: list[Any] = []
"""NVML's memory of each Sample, and of those that are gone: it is to be freed."""


class Sample:
    """A buffer for the performance counters (GPM) of a GPU instance (nvmlGpmSampleAlloc).

    Without a reference to it its memory waits for `free_dropped`: Python may find that out in a
    thread that must not wait for the driver.
    """

    def __init__(self) -> None:
        _samples[id(self)] = asked("nvmlGpmSampleAlloc", pynvml.nvmlGpmSampleAlloc)

    def __del__(self) -> None:
        buffer = _samples.pop(id(self), None)
        if buffer is not None:
            _dropped.append(buffer)

    def buffer(self) -> Any:
        """What NVML knows it by; NvmlError once it is freed, for NVML must not see it again."""
        buffer = _samples.get(id(self))
        if buffer is None:
            raise NvmlError(UNINITIALIZED, "nvmlGpmSampleFree")
        return buffer


def free_dropped() -> None:
    """Free the memory of all Samples that are gone (nvmlGpmSampleFree)."""
    for _ in range(len(_dropped)):
        with contextlib.suppress(NvmlError, IndexError):  # another thread may be quicker
            asked("nvmlGpmSampleFree", pynvml.nvmlGpmSampleFree, _dropped.pop())


def free_all() -> None:
    """Free the memory of every Sample, as NVML is about to be closed."""
    _dropped.extend(_samples.values())
    _samples.clear()
    free_dropped()


def graphics_percent(before: Sample, after: Sample) -> float:
    """The share of the time between two samples in which a kernel ran, in percent.

    NVML_GPM_METRIC_GRAPHICS_UTIL (nvmlGpmMetricsGet); may be no number (NaN).
    """
    name = "nvmlGpmMetricsGet"
    request: Any = pynvml.c_nvmlGpmMetricsGet_t()
    request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
    request.numMetrics = 1
    request.sample1, request.sample2 = before.buffer(), after.buffer()
    metric = request.metrics[0]
    metric.metricId = pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL
    metric.nvmlReturn = UNKNOWN  # until NVML writes another
    asked(name, pynvml.nvmlGpmMetricsGet, request)
    if metric.nvmlReturn:
        raise NvmlError(int(metric.nvmlReturn), name)
    return float(metric.value)
