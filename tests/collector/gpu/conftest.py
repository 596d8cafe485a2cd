"""What the tests of one GPU share."""

from collections.abc import Iterator

import pytest

from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.queries import Trace
from tests.fake_nvml import FakeNvml, Gpu, Scenario


@pytest.fixture
def opened(fake_nvml: FakeNvml) -> Iterator[FakeNvml]:
    """NVML opened, with one idle GPU."""
    fake_nvml.write(Scenario([Gpu()]))
    nvml.open_library(Trace())
    yield fake_nvml
    nvml.close_library(Trace())
