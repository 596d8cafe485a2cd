"""Busy all the time at low power: what is, and since when."""

from typing import Any

import pytest

from gpu_monitor.collector.gpu.readings import GpuReading, Identity
from gpu_monitor.collector.low_power import LASTING_SECONDS, follow, lasting

SPINS = GpuReading(
    Identity(0),
    utilization_percent=100,
    memory_controller_utilization_percent=0,
    power_watts=47.0,
    power_limit_watts=250.0,
)


def test_it_is_so_since_the_first_sample_that_is() -> None:
    assert follow(None, SPINS, 7.0) == 7.0
    assert follow(7.0, SPINS, 9.0) == 7.0


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
    assert follow(7.0, SPINS._replace(**other), 9.0) is None


def test_a_utilization_that_is_carried_neither_begins_nor_ends_it() -> None:
    carried = SPINS._replace(carried=True)
    assert follow(None, carried, 9.0) is None
    assert follow(7.0, carried._replace(utilization_percent=3), 9.0) == 7.0


def test_it_is_told_once_it_lasts() -> None:
    assert lasting(None, 1000.0) is None
    assert lasting(7.0, 7.0 + LASTING_SECONDS - 1) is None
    assert lasting(7.0, 7.0 + LASTING_SECONDS) == 7.0
