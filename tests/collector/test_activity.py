"""Since when a GPU is idle, and since when it is stalled."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.activity import (
    BLIP_SECONDS,
    IDLE_GAP_SECONDS,
    STALLED_SECONDS,
    Idle,
    IdleTimes,
    idle_gap,
    low_power_since,
    stalled_since,
)
from gpu_monitor.collector.gpu.readings import GpuReading, Identity

SPINS = GpuReading(
    Identity(0),
    utilization_percent=100,
    memory_controller_utilization_percent=0,
    power_watts=47.0,
    power_limit_watts=250.0,
)


def observe(
    samples: list[tuple[float, int | None]], times: IdleTimes | None = None
) -> list[float | None]:
    times = times or IdleTimes()
    return [times.observe("gpu", percent, now) for now, percent in samples]


def test_idle_counts_from_the_first_sample_without_work() -> None:
    assert observe([(10, 50), (11, 0), (12, 0), (13, 0)]) == [None, 11, 11, 11]


@pytest.mark.parametrize("interval", [1.0, 100.0, 400.0, 600.0])
def test_an_idle_time_survives_two_missed_samples_at_any_interval(interval: float) -> None:
    times = IdleTimes(gap=idle_gap(interval))
    observe([(0, 0)], times)
    times.forget(3 * interval)

    assert observe([(3 * interval, 0)], times) == [0]


def test_work_ends_an_idle_time() -> None:
    assert observe([(10, 0), (11, 80), (12, 0)]) == [10, None, 12]


def test_one_short_blip_does_not_end_an_idle_time() -> None:
    assert observe([(10, 0), (11, 4), (12, 0)]) == [10, 10, 10]


def test_a_blip_of_five_percent_is_work() -> None:
    assert observe([(10, 0), (11, 5), (12, 0)]) == [10, None, 12]


def test_two_blips_within_a_minute_are_work() -> None:
    second = 11 + BLIP_SECONDS - 1

    assert observe([(10, 0), (11, 2), (12, 0), (second, 2), (second + 1, 0)])[-2:] == [
        None,
        second + 1,
    ]


def test_two_blips_a_minute_apart_are_not() -> None:
    assert observe([(10, 0), (11, 2), (12, 0), (11 + BLIP_SECONDS, 2)])[-1] == 10


def test_a_sample_without_a_value_changes_nothing() -> None:
    assert observe([(10, 0), (11, None), (12, 0)]) == [10, None, 10]


def test_an_idle_time_is_forgotten_after_a_long_gap() -> None:
    assert observe([(10, 0), (10 + IDLE_GAP_SECONDS, 0)])[-1] == 10
    assert observe([(10, 0), (11 + IDLE_GAP_SECONDS, 0)])[-1] == 11 + IDLE_GAP_SECONDS


def test_each_key_has_its_own_idle_time_until_it_is_forgotten() -> None:
    times = IdleTimes()
    times.observe("a", 0, 10)
    times.observe("b", 0, 1000)

    times.forget(1001)

    assert set(times.known()) == {"b"}


def test_an_idle_time_is_known_between_samples() -> None:
    times = IdleTimes()
    times.observe("gpu", 0, 10)

    assert (times.since("gpu"), times.since("other")) == (10, None)


def test_idle_times_continue_from_what_was_saved() -> None:
    times = IdleTimes({"gpu": Idle(since=10, blip_at=None, seen_at=50)})

    assert times.observe("gpu", 0, 60) == 10


@given(st.lists(st.integers(0, 100), min_size=1))
def test_an_idle_time_never_begins_in_the_future_or_during_work(percents: list[int]) -> None:
    samples: list[tuple[float, int | None]] = [
        (float(second), percent) for second, percent in enumerate(percents)
    ]

    for (now, percent), since in zip(samples, observe(samples), strict=True):
        assert since is None or since <= now
        assert percent is not None
        assert (since is None) if percent >= 5 else (percent > 0 or since is not None)


def test_low_power_counts_from_the_first_such_sample() -> None:
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
def test_a_sample_with_work_or_without_a_value_ends_low_power(other: dict[str, Any]) -> None:
    assert low_power_since(7.0, SPINS._replace(**other), 9.0) is None


def test_a_carried_utilization_neither_begins_nor_ends_low_power() -> None:
    carried = SPINS._replace(carried=True)
    assert low_power_since(None, carried, 9.0) is None
    assert low_power_since(7.0, carried._replace(utilization_percent=3), 9.0) == 7.0


def test_a_gpu_is_stalled_after_ten_minutes_of_low_power() -> None:
    assert stalled_since(None, 1000.0) is None
    assert stalled_since(7.0, 7.0 + STALLED_SECONDS - 1) is None
    assert stalled_since(7.0, 7.0 + STALLED_SECONDS) == 7.0
