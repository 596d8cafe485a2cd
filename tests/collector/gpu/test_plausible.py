"""Impossible values are null; what holds the clocks down is put into words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.readings import GpuReading, Identity
from gpu_monitor.collector.gpu_findings import hot_at


def test_possible_values_are_kept_and_impossible_ones_are_null() -> None:
    assert [plausible.percent(value) for value in (0, 100, 101, 2**32 - 1)] == [0, 100, None, None]
    assert [plausible.celsius(value) for value in (0, 200, 201)] == [0, 200, None]
    assert [plausible.watts(value) for value in (0, 312_400, 2**32 - 1)] == [0.0, 312.4, None]
    assert [plausible.mhz(value) for value in (0, 2619, 10**6)] == [0, 2619, None]


@pytest.mark.parametrize("value", [None, 0, 1, 255, 2**32 - 1, -1])
def test_a_slowdown_temperature_that_no_card_has_is_null(value: int | None) -> None:
    assert plausible.slowdown(value) is None
    assert [plausible.slowdown(87), plausible.slowdown(105)] == [87, 105]


def test_a_power_limit_of_zero_is_null() -> None:
    assert [plausible.limit_watts(value) for value in (0, 700_000, 2**32 - 1, None)] == [
        None,
        700.0,
        None,
        None,
    ]


def test_a_process_holds_at_most_the_cards_memory() -> None:
    assert plausible.process_bytes(100, 100) == plausible.process_bytes(100, None) == 100
    assert plausible.process_bytes(101, 100) is plausible.process_bytes(2**64 - 2, None) is None
    assert plausible.process_bytes(None, 100) is None


@given(st.integers(-(2**64), 2**64))
def test_any_reading_is_within_its_range_or_null(value: int) -> None:
    for judge, highest in (
        (plausible.percent, 100),
        (plausible.celsius, 200),
        (plausible.slowdown, 200),
        (plausible.watts, 20_000),
        (plausible.limit_watts, 20_000),
        (plausible.mhz, 100_000),
        (plausible.errors, 10**9),
    ):
        assert (judged := judge(value)) is None or 0 <= judged <= highest
    total, used = plausible.memory_bytes((value, value))
    assert used is None or 0 <= used <= (total or 1 << 50)


def test_memory_used_beyond_the_total_is_null() -> None:
    assert plausible.memory_bytes((100, 40)) == (100, 40)
    assert plausible.memory_bytes((100, 101)) == (100, None)
    assert plausible.memory_bytes((0, 0)) == (None, 0)
    assert plausible.memory_bytes((2**64 - 1, 2**64 - 1)) == (None, None)
    assert plausible.memory_bytes(None) == (None, None)


def test_an_idle_gpu_is_not_throttled() -> None:
    assert plausible.throttle(0x1) == ()
    assert plausible.throttle(0x1 | 0x4) == ("power limit",)
    assert plausible.throttle(None) is None


@pytest.mark.parametrize(
    ("bit", "is_hot"), [(0x20, True), (0x40, True), (0x4, False), (0x8, False), (0x80, False)]
)
def test_a_gpu_is_hot_by_the_words_for_heat_that_throttles_it(bit: int, is_hot: bool) -> None:
    gpu = GpuReading(Identity(0), throttle=plausible.throttle(bit))
    assert (hot_at(None, gpu, 1.0) is not None) == is_hot
