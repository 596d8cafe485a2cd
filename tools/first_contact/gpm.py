"""The scale of GPM's utilization: percent, or a share of one?"""

import math
import time
from typing import Any

import pynvml

from .load import running_load
from .nvml import answer, open_gpu
from .options import Options
from .record import Recorder, Skipped

SECONDS = 2.0
SETTLE_SECONDS = 0.5
"""From the first kernel until the GPU is busy."""
LOAD_MIB = 512
METRICS = {"graphics": pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL, "sm": pynvml.NVML_GPM_METRIC_SM_UTIL}
LEAST_PERCENT = 50.0
"""Of a GPU that a kernel fills; a share of one would stay below 1."""


def measure_gpm(record: Recorder, options: Options) -> None:
    """Two samples while idle, two under load; of the first instance where the GPU is divided."""
    with open_gpu(record, options.gpu) as handle:
        support = answer(pynvml.nvmlGpmQueryDeviceSupport, handle)
        if support is None or not support.isSupportedDevice:
            raise Skipped("this GPU or driver has no GPM (Hopper and newer have)")
        if answer(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, 0) is not None:
            raise Skipped("the GPU is divided: a load would not fill its first instance")
        seconds = options.seconds(SECONDS)
        idle = utilization(handle, seconds)
        record.note("idle", {name: str(value) for name, value in idle.items()})
        with running_load(record, options, "heavy", LOAD_MIB):
            time.sleep(SETTLE_SECONDS)
            busy = utilization(handle, seconds)
    for name, value in busy.items():
        good = LEAST_PERCENT <= value <= 100
        seen = value if math.isfinite(value) else str(value)
        record.check(f"{name} utilization is in percent", good, seen, [LEAST_PERCENT, 100])


def utilization(handle: Any, seconds: float) -> dict[str, float]:
    """What two samples this far apart say."""
    first, second = pynvml.nvmlGpmSampleAlloc(), pynvml.nvmlGpmSampleAlloc()
    pynvml.nvmlGpmSampleGet(handle, first)
    time.sleep(max(seconds, 0.2))
    pynvml.nvmlGpmSampleGet(handle, second)
    request: Any = pynvml.c_nvmlGpmMetricsGet_t()
    request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
    request.numMetrics, request.sample1, request.sample2 = len(METRICS), first, second
    for place, metric in enumerate(METRICS.values()):
        request.metrics[place].metricId = metric
    pynvml.nvmlGpmMetricsGet(request)
    for sample in (first, second):
        pynvml.nvmlGpmSampleFree(sample)
    return {name: float(request.metrics[place].value) for place, name in enumerate(METRICS)}
