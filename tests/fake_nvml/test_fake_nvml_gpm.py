"""The fake NVML's GPM: two samples yield the metrics of a GPU instance in between."""

import math
import signal
import subprocess
import sys
from typing import Any

import pynvml
import pytest

from tests.fake_nvml import FakeNvml, Gpu, Mig, Scenario, error
from tests.support.nvml_calls import failure

INVALID, NOT_SUPPORTED, NOT_FOUND, VERSION_MISMATCH = 2, 3, 6, 25


def sampled(gpu: Any, instance: int) -> Any:
    return pynvml.nvmlGpmMigSampleGet(gpu, instance, pynvml.nvmlGpmSampleAlloc())


def request(before: Any, after: Any, *metrics: int) -> Any:
    asked: Any = pynvml.c_nvmlGpmMetricsGet_t()
    asked.version = pynvml.NVML_GPM_METRICS_GET_VERSION
    asked.numMetrics = len(metrics)
    asked.sample1, asked.sample2 = before, after
    for number, metric in enumerate(metrics):
        asked.metrics[number].metricId = metric
    return asked


def metrics_of(before: Any, after: Any, *metrics: int) -> list[tuple[int, float]]:
    """(its own error, value) of each metric."""
    answer = pynvml.nvmlGpmMetricsGet(request(before, after, *metrics))
    found = [answer.metrics[number] for number in range(len(metrics))]
    return [(int(metric.nvmlReturn), float(metric.value)) for metric in found]


def divided(fake: FakeNvml, *migs: Mig, **keys: Any) -> None:
    fake.write(Scenario([Gpu(migs=migs, **keys)]))


def test_two_samples_give_the_mean_of_an_instance(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    divided(fake_nvml, Mig(utilization_percent=20), Mig(utilization_percent=90))
    first = sampled(one_gpu, 7)
    divided(fake_nvml, Mig(utilization_percent=60), Mig(utilization_percent=90))
    second = sampled(one_gpu, 7)
    graphics, sm, other = metrics_of(first, second, 1, 2, 20)
    assert graphics == sm == (0, 40)
    assert other[0] == NOT_SUPPORTED


def test_an_instance_of_several_slices_has_their_mean(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    shared = {"gpu_instance": 3}
    divided(fake_nvml, Mig(**shared, utilization_percent=10), Mig(**shared, utilization_percent=30))  # type: ignore[arg-type]  # numbers
    one, other = sampled(one_gpu, 3), sampled(one_gpu, 3)
    assert metrics_of(one, other, 1) == [(0, 20)]


def test_a_slices_metric_may_be_an_error_or_nan(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    divided(fake_nvml, Mig(utilization_percent=error("TIMEOUT")), Mig(utilization_percent="nan"))
    pairs = [(sampled(one_gpu, number), sampled(one_gpu, number)) for number in (7, 8)]
    (failed,), (strange,) = (metrics_of(*pair, 1) for pair in pairs)
    assert failed[0] == pynvml.NVML_ERROR_TIMEOUT
    assert strange[0] == 0 and math.isnan(strange[1])


def test_a_whole_gpu_is_sampled_by_another_function(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    fake_nvml.write(Scenario([Gpu(utilization_percent=50)]))
    one, other = (pynvml.nvmlGpmSampleGet(one_gpu, pynvml.nvmlGpmSampleAlloc()) for _ in range(2))
    assert metrics_of(one, other, 1) == [(0, 50)]
    sample = pynvml.nvmlGpmSampleAlloc()
    assert failure(pynvml.nvmlGpmMigSampleGet, one_gpu, 7, sample) == NOT_SUPPORTED
    divided(fake_nvml, Mig())
    assert failure(pynvml.nvmlGpmSampleGet, one_gpu, sample) == NOT_SUPPORTED
    assert failure(pynvml.nvmlGpmMigSampleGet, one_gpu, 9, sample) == NOT_FOUND
    slice_ = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(one_gpu, 0)
    assert failure(pynvml.nvmlGpmMigSampleGet, slice_, 7, sample) == NOT_SUPPORTED
    assert failure(pynvml.nvmlGpmQueryDeviceSupport, slice_) == NOT_SUPPORTED


def test_a_gpu_without_gpm_reports_no_support(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    assert pynvml.nvmlGpmQueryDeviceSupport(one_gpu).isSupportedDevice == 1
    divided(fake_nvml, Mig(), gpm=0)
    assert pynvml.nvmlGpmQueryDeviceSupport(one_gpu).isSupportedDevice == 0
    sample = pynvml.nvmlGpmSampleAlloc()
    assert failure(pynvml.nvmlGpmMigSampleGet, one_gpu, 7, sample) == NOT_SUPPORTED


def test_samples_that_do_not_belong_together_give_no_metrics(
    fake_nvml: FakeNvml, one_gpu: Any
) -> None:
    divided(fake_nvml, Mig(), Mig())
    first, second, other = (sampled(one_gpu, number) for number in (7, 7, 8))
    empty = pynvml.nvmlGpmSampleAlloc()
    for pair in ((second, first), (first, first), (first, other), (empty, first), (first, None)):
        assert failure(pynvml.nvmlGpmMetricsGet, request(*pair, 1)) == INVALID
    old = request(first, second, 1)
    old.version = 2
    assert failure(pynvml.nvmlGpmMetricsGet, old) == VERSION_MISMATCH
    assert failure(pynvml.nvmlGpmMetricsGet, request(first, second)) == INVALID


def test_samples_are_counted_until_they_are_freed(fake_nvml: FakeNvml, one_gpu: Any) -> None:
    samples = [pynvml.nvmlGpmSampleAlloc() for _ in range(3)]
    assert fake_nvml.samples() == 3
    pynvml.nvmlGpmSampleFree(samples[0])
    assert fake_nvml.samples() == 2
    pynvml.nvmlShutdown()
    assert failure(pynvml.nvmlGpmSampleFree, samples[1]) == pynvml.NVML_ERROR_UNINITIALIZED
    assert fake_nvml.samples() == 2


@pytest.mark.processes
def test_using_a_freed_sample_ends_the_process(fake_nvml: FakeNvml) -> None:
    divided(fake_nvml, Mig())
    code = (
        "import pynvml; pynvml.nvmlInit(); sample = pynvml.nvmlGpmSampleAlloc();"
        "pynvml.nvmlGpmSampleFree(sample); gpu = pynvml.nvmlDeviceGetHandleByIndex(0);"
        "pynvml.nvmlGpmMigSampleGet(gpu, 7, sample)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=fake_nvml.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT
    assert done.stderr == "fake NVML: a freed GPM sample was used\n"
