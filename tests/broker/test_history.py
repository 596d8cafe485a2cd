"""broker.history: a maximum per minute, gaps for silent minutes, no growth."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.history import MINUTES, GpuHistory, TotalsHistory
from tests.support.snapshots import make_gpus

NOON = 1_700_000_040.0
"""The start of a minute."""


def add(history: GpuHistory, now: float, *percents: int | None, **columns: Any) -> None:
    history.add(make_gpus(len(percents), utilization_percent=list(percents), **columns), now)


def last(history: GpuHistory, now: float, count: int, row: int = 0) -> list[int | None]:
    minutes: list[int | None] = history.answer(now)["utilization_percent"][row]
    return minutes[-count:]


def test_a_minute_keeps_its_maximum() -> None:
    history = GpuHistory()
    for second, percent in enumerate((10, 90, 0, None, 40)):
        add(history, NOON + second, percent)
    assert last(history, NOON + 59, 1) == [90]


def test_a_minute_without_a_reading_is_a_gap_and_not_a_zero() -> None:
    history = GpuHistory()
    add(history, NOON, 0)
    add(history, NOON + 180, 7)
    assert last(history, NOON + 180, 4) == [0, None, None, 7]


def test_an_answer_later_than_the_last_reading_ends_with_gaps() -> None:
    history = GpuHistory()
    add(history, NOON, 5)
    assert last(history, NOON + 120, 3) == [5, None, None]
    add(history, NOON + 120, 6)
    assert last(history, NOON + 120, 3) == [5, None, 6]


def test_readings_older_than_an_hour_are_dropped() -> None:
    history = GpuHistory()
    add(history, NOON, 5)
    add(history, NOON + 3600, 6)
    assert last(history, NOON + 3600, MINUTES) == [None] * 59 + [6]


def test_a_gpu_that_changes_its_row_keeps_its_past() -> None:
    history = GpuHistory()
    add(history, NOON, 11, 22, uuid=["a", "b"])
    add(history, NOON + 60, 33, 44, uuid=["b", "c"])
    assert last(history, NOON + 60, 2) == [22, 33]
    assert last(history, NOON + 60, 2, row=1) == [None, 44]


def test_gpus_with_one_uuid_keep_a_past_each() -> None:
    history = GpuHistory()
    add(history, NOON, 11, 22, 33, uuid=["a", "a", "b"])
    add(history, NOON + 60, 44, 55, 66, uuid=["b", "a", "a"])
    assert [last(history, NOON + 60, 2, row) for row in range(3)] == [[33, 44], [11, 55], [22, 66]]


def test_gpus_without_a_uuid_are_not_taken_for_each_other() -> None:
    history = GpuHistory()
    add(history, NOON, 11, 22, uuid=[None, "a"])
    add(history, NOON + 60, 33, 44, uuid=["a", None])
    assert [last(history, NOON + 60, 2, row) for row in range(2)] == [[22, 33], [None, 44]]


def test_gpus_that_exchange_their_places_take_their_past_along() -> None:
    history = GpuHistory()
    add(history, NOON, 11, 22, uuid=["a", "b"])
    add(history, NOON + 60, 33, 44, uuid=["b", "a"])
    assert [last(history, NOON + 60, 2, row) for row in range(2)] == [[22, 33], [11, 44]]


def test_a_clock_that_is_set_back_clears_the_history() -> None:
    history = GpuHistory()
    add(history, NOON, 5)
    add(history, NOON - 600, 6)
    assert last(history, NOON - 600, 3) == [None, None, 6]


@given(st.lists(st.tuples(st.integers(0, 200), st.none() | st.integers(0, 100)), min_size=1))
def test_the_history_agrees_with_a_plain_list_of_all_readings(
    readings: list[tuple[int, int | None]],
) -> None:
    told: dict[int, int] = {}
    history, now = GpuHistory(), NOON
    for pause, percent in readings:
        now += pause
        add(history, now, percent)
        if percent is not None:
            minute = int(now) // 60
            told[minute] = max(percent, told.get(minute, 0))
    newest = int(now) // 60
    expected = [told.get(minute) for minute in range(newest - MINUTES + 1, newest + 1)]
    assert last(history, now, MINUTES) == expected


def test_totals_keep_their_maxima_and_no_more_than_an_hour() -> None:
    history = TotalsHistory()
    for second in range(0, 4000, 20):
        history.add({"power_watts": second, "gpus": 3}, NOON + second)
    answer = history.answer(NOON + 3980)
    assert answer["power_watts"][-2:] == [3940, 3980]
    assert len(answer["power_watts"]) == MINUTES and None not in answer["power_watts"]
    assert answer["memory_used_mib"] == [None] * MINUTES
