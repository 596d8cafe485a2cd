"""A GPU's energy counter, which falls only where it was reset."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.gpu.energy import EnergyCounter


def shown(*answers: int | None) -> list[int | None]:
    counter = EnergyCounter()
    return [counter.ingest(answer) for answer in answers]


def test_a_counter_that_counts_is_shown() -> None:
    assert shown(0, 5, 5, 9) == [0, 5, 5, 9]


def test_a_single_lower_answer_is_not_believed() -> None:
    assert shown(100, 3, 110, 2, 120) == [100, 100, 110, 110, 120]


def test_a_counter_that_starts_again_is_believed_the_second_time() -> None:
    assert shown(100, 3, 4, 5) == [100, 100, 4, 5]
    assert shown(100, 3, 3, 5) == [100, 100, 3, 5]


def test_no_answer_is_null_and_forgets_nothing() -> None:
    assert shown(100, None, 3, 101, None, None) == [100, None, 100, 101, None, None]


@given(st.lists(st.none() | st.integers(0, 50), max_size=30))
def test_it_never_falls_without_two_lower_answers_in_succession(answers: list[int | None]) -> None:
    found = shown(*answers)
    known = [
        (value, answer)
        for value, answer in zip(found, answers, strict=True)
        if value is not None and answer is not None
    ]
    for (before, earlier), (value, answer) in pairwise(known):
        if value < before:
            assert earlier < before and earlier <= answer == value
