"""Fixtures that several test modules share."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest
from hypothesis import HealthCheck, settings

from tests.fake_nvml import BuildError, FakeNvml, Gpu, Process, Scenario, library_folder
from tests.support.house import House, rested, unpacked_wheel

pytest_plugins = ["tests.support.browser", "tests.support.process_guard"]

settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bundled", action="store_true", help="serve the bundled page of a wheel to all tests"
    )


@pytest.fixture(scope="session", autouse=True)
def bundled(request: pytest.FixtureRequest) -> None:
    """With --bundled, every house serves the page of a wheel."""
    if request.config.getoption("--bundled"):
        House.code = request.getfixturevalue("wheel")


def pytest_configure() -> None:
    """Build the fake NVML before xdist starts its workers, which would each build their own."""
    with contextlib.suppress(BuildError):  # tests that need it fail with its message
        library_folder()


@pytest.fixture
def fake_nvml(tmp_path: Path) -> Iterator[FakeNvml]:
    """The fake NVML in this process, without a GPU: `fake_nvml.write(Scenario(gpus=[Gpu()]))`."""
    fake = FakeNvml(tmp_path / "gpus.scenario")
    yield fake
    fake.close()


@pytest.fixture
def one_gpu(fake_nvml: FakeNvml) -> Any:
    """The handle of the only GPU of the initialised fake NVML."""
    fake_nvml.write(Scenario([Gpu()]))
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(0)


WORKING_GPU = Gpu(
    utilization_percent=87, processes=[Process("self", memory_mib=2048, sm_utilization_percent=80)]
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released wheel, unpacked."""
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def page_form() -> str:
    """How the page is served: as `modules`, or as the `bundle` of a wheel.

    A test module that overrides this with parameters runs with both.
    """
    return "modules"


@pytest.fixture
def house(
    tmp_path: Path,
    fake_nvml: FakeNvml,
    processes: None,
    page_form: str,
    request: pytest.FixtureRequest,
) -> Iterator[House]:
    """The commands as processes with the fake NVML: one GPU at 87 % and a free one."""
    fake_nvml.write(Scenario(gpus=[WORKING_GPU, Gpu()]))
    house = House(tmp_path, fake_nvml.environment() | rested(tmp_path / "state"))
    if page_form == "bundle":
        house.code = request.getfixturevalue("wheel")
    yield house
    house.close()
