"""Fixtures with NVIDIA's files. Where they could not be fetched a test is skipped, and says why."""

from pathlib import Path

import pytest

from .cache import DRIVERS, HEADERS, stored
from .driver_files import DriverFiles, build_shim
from .sources import Unavailable


def stored_or_skip(name: str) -> Path:
    try:
        return stored(name)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory, processes: None) -> Path:
    """The library that answers for /dev/nvidia*, for LD_PRELOAD."""
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest, shim: Path) -> DriverFiles:
    """NVIDIA's library and nvidia-smi, of each generation."""
    return DriverFiles(stored_or_skip(request.param), shim)


@pytest.fixture(params=HEADERS)
def header(request: pytest.FixtureRequest, processes: None) -> Path:
    """The folder with NVIDIA's nvml.h, of each generation."""
    return stored_or_skip(request.param)


@pytest.fixture
def two_drivers(shim: Path) -> tuple[DriverFiles, DriverFiles]:
    """Those of two generations, the older first."""
    older, newer = (DriverFiles(stored_or_skip(name), shim) for name in DRIVERS[-2:])
    return older, newer
