"""Fixtures of the tests of the page."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page

from tests.fake_nvml import FakeNvml, Gpu, Process, Scenario
from tests.support.house import House, eventually
from tests.support.visit import open_page

HOSTS = 12


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One simulated fleet for the whole module; no test changes it."""
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", str(HOSTS), rpc_timeout=30)  # tolerates pauses
        eventually(lambda: house.get("readyz") is not None, "the demo to serve")
        eventually(
            lambda: (house.get("api/v1/fleet") or {}).get("totals", {}).get("gpus", 0) > 50, "GPUs"
        )
        yield house


@pytest.fixture
def visit(demo: House, page: Page) -> Page:
    return open_page(page, demo.url)


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeNvml]:
    """Two GPUs: one that works at 37 %, as `expect_live` expects, and one without work."""
    fake = FakeNvml(tmp_path_factory.mktemp("fake") / "gpus.scenario")
    fake.write(Scenario([Gpu(utilization_percent=37, processes=[Process("self")]), Gpu()]))
    yield fake
    fake.close()
