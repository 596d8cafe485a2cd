"""Busy all the time at low power: what is, and since when."""

from typing import Any

import pytest

from gpu_monitor.collector.activity import STALLED_SECONDS, low_power_since, stalled_since
from gpu_monitor.collector.gpu.readings import GpuReading, Identity

SPINS = GpuReading(
    Identity(0),
    utilization_percent=100,
    memory_controller_utilization_percent=0,
    power_watts=47.0,
    power_limit_watts=250.0,
)


def test_it_is_so_since_the_first_sample_that_is() -> None:
    assert low_power_since(None, SPINS, 7.0) == 7.0
    assert low_power_since(7.0, SPINS, 9.0) == 7.0


@pytest.mark.parametrize(
    "other",
    [
        {"utilization_percent": 94},
        {"memory_controller_utilization_percent": 3},
        {"power_watts": 100.0},
        {"utilization_percent": None},
        {"memory_controller_utilization_percent": None},
        {"power_watts": None},
        {"power_limit_watts": None},
        {"power_limit_watts": 0.0},
    ],
)
def test_one_sample_that_is_not_so_or_not_known_ends_it(other: dict[str, Any]) -> None:
    assert low_power_since(7.0, SPINS._replace(**other), 9.0) is None


def test_a_utilization_that_is_carried_neither_begins_nor_ends_it() -> None:
    carried = SPINS._replace(carried=True)
    assert low_power_since(None, carried, 9.0) is None
    assert low_power_since(7.0, carried._replace(utilization_percent=3), 9.0) == 7.0


def test_it_is_told_once_it_lasts() -> None:
    assert stalled_since(None, 1000.0) is None
    assert stalled_since(7.0, 7.0 + STALLED_SECONDS - 1) is None
    assert stalled_since(7.0, 7.0 + STALLED_SECONDS) == 7.0
