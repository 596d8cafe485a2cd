"""A GPU's links to the host and to other GPUs, whatever the driver answers."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.links import LINKS_SECONDS, Links
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries, Trace
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Call, Gpu, Scenario, Value, error

GPU = Gpu(pcie_generation=4, pcie_width=16, pcie_max_width=16, nvlinks=12)


class Watched:
    """One GPU whose links are read once a minute."""

    def __init__(self, fake: FakeNvml) -> None:
        self.fake = fake
        self.links = Links()
        self.queries = Queries()
        self._handle = Handle.by_index(0, Trace())
        self._now = -LINKS_SECONDS

    def become(self, gpu: Gpu, *calls: Call) -> Links:
        """The links a minute later."""
        self.fake.write(Scenario([gpu], calls=calls))
        self._now += LINKS_SECONDS
        self.links.refresh(self.queries, self._handle, self._now)
        return self.links


@pytest.fixture
def watched(fake_nvml: FakeNvml) -> Iterator[Watched]:
    fake_nvml.write(Scenario([GPU]))
    nvml.open_library(Trace())
    yield Watched(fake_nvml)
    nvml.close_library(Trace())


def test_generation_width_and_nvlinks_are_read(watched: Watched) -> None:
    links = watched.become(GPU)

    assert (links.pcie_generation, links.pcie_width, links.nvlinks_up) == (4, 16, 12)


def test_they_are_read_once_a_minute(watched: Watched) -> None:
    watched.become(GPU)
    before = watched.fake.calls()
    watched.links.refresh(watched.queries, Handle.by_index(0, Trace()), LINKS_SECONDS - 1)
    opened = 1

    assert watched.fake.calls() - before == opened
    watched.become(GPU)
    assert watched.fake.calls() - before == opened + 5


@pytest.mark.parametrize(
    ("gpu", "width", "up"),
    [
        (replace(GPU, nvlinks=N_A), 16, None),
        (replace(GPU, nvlinks=0), 16, None),
        (replace(GPU, nvlinks=1_000_000), 16, None),
        (replace(GPU, nvlinks_up=0), 16, 0),
        (replace(GPU, nvlinks=error("TIMEOUT")), 16, None),
        (replace(GPU, nvlinks_up=error("UNKNOWN")), 16, None),
        (replace(GPU, pcie_width=N_A), None, 12),
        (replace(GPU, pcie_width=0), None, 12),
        (replace(GPU, pcie_width=2**32 - 1), None, 12),
    ],
)
def test_what_is_not_reported_is_null(
    watched: Watched, gpu: Gpu, width: int | None, up: int | None
) -> None:
    links = watched.become(gpu)

    assert (links.pcie_width, links.nvlinks_up) == (width, up)


@pytest.mark.parametrize("answer", [N_A, error("INVALID_ARGUMENT"), error("FUNCTION_NOT_FOUND")])
def test_an_older_driver_is_asked_for_one_nvlink_after_the_other(
    watched: Watched, answer: Value
) -> None:
    links = watched.become(replace(GPU, nvlinks_up=10, fields={165: answer}))

    assert links.nvlinks_up == 10
    assert watched.fake.calls("nvmlDeviceGetNvLinkState") == 12


@pytest.mark.parametrize(("state", "up"), [(0, 0), (1, 12), (2, 12), (3, 0)])
def test_an_nvlink_that_sleeps_is_up_and_one_of_no_use_is_not(
    watched: Watched, state: int, up: int
) -> None:
    assert watched.become(replace(GPU, fields={165: state})).nvlinks_up == up


def kinds(links: Links) -> list[str]:
    return [finding.kind for finding in links.findings]


@pytest.mark.parametrize(
    ("width", "most", "words"),
    [
        (8, 16, "its PCIe link uses 8 of 16 lanes"),
        (1, 4, "its PCIe link uses 1 of 4 lanes"),
        (8, 8, None),  # a slot with eight lanes
        (16, 8, None),
        (16, N_A, None),
        (N_A, 16, None),
        (0, 16, None),
    ],
)
def test_a_link_with_fewer_lanes_than_card_and_slot_have_is_a_finding(
    watched: Watched, width: Value, most: Value, words: str | None
) -> None:
    links = watched.become(replace(GPU, pcie_width=width, pcie_max_width=most))

    assert [each.words for each in links.findings] == ([] if words is None else [words])


def test_a_generation_that_falls_is_no_finding(watched: Watched) -> None:
    watched.become(GPU)

    assert watched.become(replace(GPU, pcie_generation=1)).findings == ()


def test_nvlinks_that_go_down_are_a_finding_until_they_are_up_again(watched: Watched) -> None:
    found = [
        [each.words for each in watched.become(replace(GPU, nvlinks_up=up)).findings]
        for up in (10, 12, 11, 0, N_A, 12)
    ]

    words = "of the 12 NVLinks that were up are down"
    assert found == [[], [], [f"1 {words}"], [f"12 {words}"], [], []]


def test_nvlinks_that_were_never_up_are_no_finding(watched: Watched) -> None:
    assert kinds(watched.become(replace(GPU, nvlinks_up=0))) == []


def test_a_gpu_without_nvlink_is_asked_once(watched: Watched) -> None:
    watched.become(replace(GPU, nvlinks=N_A))
    before = watched.fake.calls("nvmlDeviceGetFieldValues")
    watched.become(replace(GPU, nvlinks=N_A))

    assert watched.fake.calls("nvmlDeviceGetFieldValues") == before
