"""When something that is not done for each sample is due."""

from gpu_monitor.collector.gpu.rhythm import Rhythm


def due(rhythm: Rhythm, until: int) -> list[int]:
    return [second for second in range(until) if rhythm.is_due(float(second))]


def test_it_is_due_at_once_and_then_once_in_so_many_seconds() -> None:
    assert due(Rhythm(5.0), 16) == [0, 5, 10, 15]


def test_a_stagger_shifts_all_but_the_first_time() -> None:
    assert due(Rhythm(5.0, 2), 16) == [0, 3, 8, 13]
    assert due(Rhythm(5.0, 5), 16) == [0, 5, 10, 15]


def test_a_late_answer_delays_the_next_one() -> None:
    rhythm = Rhythm(5.0)
    assert [rhythm.is_due(now) for now in (0.0, 4.9, 7.0, 11.9, 12.0)] == [
        True, False, True, False, True,
    ]  # fmt: skip


def test_the_pace_can_be_changed() -> None:
    rhythm = Rhythm(10.0)
    rhythm.is_due(0.0)
    rhythm.seconds = 5.0

    assert due(rhythm, 16) == [5, 10, 15]
