"""Fixtures that several test modules share."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest
from fake_nvml import BuildError, FakeNvml, Gpu, Process, Scenario, library_folder
from house import House
from hypothesis import HealthCheck, settings

pytest_plugins = ["browser", "process_guard"]

settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)
settings.load_profile("house")


def pytest_configure() -> None:
    """Build the fake NVML before xdist starts its workers, which would each build their own."""
    with contextlib.suppress(BuildError):  # the tests that need it fail with its words
        library_folder()


@pytest.fixture
def fake_nvml(tmp_path: Path) -> Iterator[FakeNvml]:
    """The fake NVML in this process, with no GPU yet: `fake_nvml.write(Scenario(gpus=[Gpu()]))`."""
    fake = FakeNvml(tmp_path / "gpus.scenario")
    yield fake
    fake.close()


@pytest.fixture
def one_gpu(fake_nvml: FakeNvml) -> Any:
    """The handle of the only GPU of the fake NVML, which is initialised."""
    fake_nvml.write(Scenario([Gpu()]))
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(0)


WORKING_GPU = Gpu(
    utilization_percent=87, processes=[Process("self", memory_mib=2048, sm_percent=80)]
)


@pytest.fixture
def house(tmp_path: Path, fake_nvml: FakeNvml, processes: None) -> Iterator[House]:
    """The commands as processes that find the fake NVML: a GPU at 87 % and a free one."""
    fake_nvml.write(Scenario(gpus=[WORKING_GPU, Gpu()]))
    house = House(tmp_path, fake_nvml.environment())
    yield house
    house.close()
