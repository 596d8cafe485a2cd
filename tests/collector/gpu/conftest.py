"""What the tests of one GPU share."""

from collections.abc import Iterator

import pytest

from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.queries import Trace
from tests.collector.gpu.devices import BUSY
from tests.fake_nvml import FakeNvml, Scenario


@pytest.fixture
def opened(fake_nvml: FakeNvml) -> Iterator[FakeNvml]:
    """NVML opened, with one busy GPU."""
    fake_nvml.write(Scenario([BUSY]))
    nvml.open_library(Trace())
    yield fake_nvml
    nvml.close_library(Trace())
